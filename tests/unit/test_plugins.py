"""Plug-ins are found by parsing, and what is parsed equals what is imported."""

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
