"""Plug-ins are found by parsing, and what is parsed equals what is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from petl_bench import plugins
from petl_bench.errors import UsageError
from petl_bench.registry import Registry


@pytest.mark.parametrize("kind", ["methods", "tasks", "datasets", "decoders"])
def test_what_is_listed_is_what_is_imported(kind: str) -> None:
    found = plugins.listings(kind)
    assert found
    for name, listing in found.items():
        cls = plugins.load(kind, name)
        assert cls.name == name
        for attribute, value in listing.attributes.items():
            assert getattr(cls, attribute) == value, (name, attribute)


def test_every_method_states_paper_and_provenance() -> None:
    for listing in plugins.listings("methods").values():
        assert listing.provenance, listing.name
        assert "paper" in listing.attributes, listing.name
        assert "executions" in listing.attributes, listing.name


def test_one_name_for_two_classes_is_refused() -> None:
    registry = Registry("method")

    @registry.register("one")
    class One:
        pass

    with pytest.raises(ValueError, match="taken by"):

        @registry.register("one")
        class Two:
            pass

    assert registry["one"] is One
    with pytest.raises(UsageError, match="Did you mean 'one'"):
        registry["on"]


@pytest.mark.parametrize("hiding", ["methods.py", "methods"])
def test_a_foreign_module_that_hides_the_methods_is_named(hiding: str, tmp_path: Path) -> None:
    if hiding.endswith(".py"):
        (tmp_path / hiding).touch()
    else:
        (tmp_path / hiding).mkdir()
    code = (
        "import sys, importlib.machinery as m\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.meta_path.insert(0, type('First', (), {'find_spec': staticmethod(lambda name, path=None, target=None:"
        f" m.PathFinder.find_spec(name, [{str(tmp_path)!r}]) if name == 'methods' else None)}}))\n"
        "from petl_bench.cli.main import main\nmain(['list', 'methods'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / hiding) in done.stderr
    assert "Traceback" not in done.stderr
