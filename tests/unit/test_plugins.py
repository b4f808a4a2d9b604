"""Plug-ins are found by parsing, and what is parsed equals what is imported."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from petl_bench import plan, plugins
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


GOOD = """
from petl_bench.method import METHODS, Counts, Method


@METHODS.register("theirs")
class Theirs(Method):
    paper = ""
    executions = ("shared",)

    def adapt(self) -> None: ...

    def expected_parameters(self) -> Counts:
        return Counts()
"""


def installed(site: Path, files: Mapping[str, str | bytes], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Put a package of methods where Python and its metadata find it."""
    dist = site / f"{name}-1.0.dist-info"
    dist.mkdir(parents=True)
    (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text(f"[petl_bench.methods]\n{name} = {name}\n")
    (site / name).mkdir()
    for path, content in files.items():
        (site / name / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.syspath_prepend(site)


MARKED = "PETL_BENCH_API = 1\n"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"__init__.py": "PETL_BENCH_API = 99\n", "good.py": GOOD}, "does not say PETL_BENCH_API = 1"),
        ({"__init__.py": "def (:\n", "good.py": GOOD}, "SyntaxError"),
        ({"__init__.py": MARKED, "theirs.py": GOOD + "\ndef (:\n"}, "SyntaxError"),
        ({"__init__.py": MARKED, "theirs.py": GOOD.encode("utf-16")}, "UnicodeDecodeError"),
        ({"__init__.py": MARKED, "one.py": GOOD, "two.py": GOOD}, "Two files register the method 'theirs'"),
        ({"good.py": GOOD}, "has no __init__.py"),
    ],
)
def test_a_broken_package_is_left_out_in_words_and_the_others_work(
    files: dict[str, str | bytes], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, files, monkeypatch, f"broken{abs(hash(why))}")
    assert "lora" in plugins.listings("methods")
    assert why in " ".join(plugins.set_aside("methods"))
    assert plan.plan({"method": {"name": "lora"}}, plugins.vocabulary).method.name == "lora"
    with pytest.raises(UsageError, match=r"(?s)Unknown method 'theirs'.*Left out: "):
        plan.plan({"method": {"name": "theirs"}}, plugins.vocabulary)


def test_a_stale_file_that_cannot_be_imported_is_named_and_no_other_method_minds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = GOOD.replace("import METHODS,", "import METHODS, GoneSince,")
    installed(tmp_path, {"__init__.py": MARKED, "theirs.py": stale}, monkeypatch, "stalemethods")
    assert {"lora", "theirs"} <= plugins.listings("methods").keys()
    with pytest.raises(UsageError, match=r"importing stalemethods\.theirs ends in ImportError: .*GoneSince.*line 2"):
        plan.plan({"method": {"name": "theirs"}}, plugins.vocabulary)
    assert plan.plan({"method": {"name": "lora"}}, plugins.vocabulary).method.name == "lora"
