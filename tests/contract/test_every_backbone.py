"""Every listed backbone is built with every method, or refused for a stated need; the table of support is true."""

import pytest
import torch

from petl_bench import plugins
from petl_bench.backbones.build import build_backbone
from petl_bench.backbones.names import backbone_names
from petl_bench.cli.check import support_rows
from petl_bench.cli.support import NO, YES, read_support
from petl_bench.config import validate_section
from petl_bench.errors import UsageError
from petl_bench.ledger import held_parameters
from petl_bench.testing.subject import TINY

METHODS = list(plugins.listings("methods"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in backbone_names() if name != "embedded"])
def test_a_listed_backbone_is_built_with_every_method_or_refused_for_a_stated_need(name: str) -> None:
    size = backbone_names()[name].image_size
    for method_name in METHODS:
        method = plugins.load("methods", method_name)
        config = validate_section(method.Config, {"name": method_name}, "method")
        with torch.device("meta"):
            backbone = build_backbone(name, weights="random", image_size=size, seed=0, normalisation="imagenet")
            missing = backbone.missing(method.needs_of(config))
            if missing:
                with pytest.raises(UsageError, match="needs"):
                    method(backbone, ("a", "b"), config, 0)
                continue
            built = method(backbone, ("a", "b"), config, 0)
        expected, counted = built.expected_parameters(), held_parameters(built)
        for owner in ("shared", "per_task", "generator"):
            assert getattr(expected, owner) == getattr(counted, owner), (method_name, owner)


def test_the_committed_table_of_support_is_what_methods_need_and_networks_have() -> None:
    every = {(name, network): True for name in METHODS for network in TINY}
    assert read_support() == support_rows(every), "petl-bench check all --write"


def test_every_method_runs_somewhere_and_every_empty_cell_has_its_reason() -> None:
    rows = read_support()
    assert {row["method"] for row in rows if row["supported"] == YES} == set(METHODS)
    assert all(row["reason"].startswith("lacks ") for row in rows if row["supported"] == NO)
    assert len({row["network"] for row in rows}) >= 8
