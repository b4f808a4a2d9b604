"""Every shipped method keeps every promise of the contract, on Swin and on ViT."""

from collections.abc import Iterable

import pytest
from executions import EXECUTIONS, daily

from petl_bench import plugins
from petl_bench.testing import CHECKS, SLOW_CHECKS, Subject, tiny_backbone
from petl_bench.testing.subject import TINY
from petl_bench.testing.verdict import judge_all

pytestmark = pytest.mark.usefixtures("one_thread")  # the networks are too small for more

# Each on the first family that the method is defined on, where blocks differ in width and windows are shifted.
OTHER_SETTINGS: dict[str, list[dict[str, object]]] = {
    "adapter": [{"scope": "shared", "place": "attention"}, {"place": "both", "activation": "relu"}],
    "adapter-plus": [{"scope": "shared"}],
    "adaptformer": [{"scope": "shared", "norm": "none"}],
    "bitfit": [{"scope": "shared"}],
    "branched-lora": [{"groups": "first+third"}, {"shared_stages": 0}, {"groups": "first+second+third"}],
    "compacter": [{"scope": "shared", "variant": "compacter++"}],
    "convpass": [{"scope": "shared", "place": "attention", "start": "xavier"}],
    "ditask": [{"identity_start": True, "train_merging": False}, {"taps": "after-merge", "cells": 2, "task_cells": 16}],
    "hyperformer": [{"place": "mlp", "networks": "per-block"}],
    "lora": [
        {"scope": "shared"},
        {"norm": "none"},
        {"weight": "dora"},
        {"targets": "all", "start": "pissa"},
        {"targets": "all", "weight": "dora", "rank_schedule": "prefix", "interval": 1, "scope": "shared"},
    ],
    "low-rank-adapter": [{"scope": "shared"}],
    "mona": [{"scope": "shared"}],
    "mtlora": [{"reduction": "lora"}, {"taps": "after-merge"}, {"taps": "after-merge", "reduction": "lora"}],
    "phm": [{"scope": "shared", "rules": "per-layer"}],
    "relative-bias": [{"scope": "shared"}],
    "shared-adapter": [{"place": "both"}],
    "side": [{"rho": 2, "activation": "relu"}],
    "sinewich": [{"taps": "after-merge"}],
    "ssf": [{"scope": "shared"}],
    "tadformer": [{"filter": "static", "rank": 4}, {"filter": "none", "taps": "after-merge"}],
    "vmt": [
        {"rho": 2, "activation": "relu"},
        {"task_path": "side", "norm": "block"},
        {"task_path": "trunk", "extract_at": "bottleneck"},
        {"extract": "none"},
        {"extract_from": "last", "extract_at": "pre-activation", "position": "sequential-mlp"},
        {"decoder_input": "concat", "extract": "scale", "position": "parallel-attn"},
        {"decoder_input": "task-only"},
        {"reenter": False},
        {"reenter": False, "task_path": "side", "norm": "block"},
        {"reenter": False, "extract": "none", "position": "parallel-attn"},
    ],
    "vmt-lite": [{"sharing": "stage-tied"}, {"sharing": "stage-untied"}],
    "vpt": [{"scope": "shared"}, {"deep": False, "prompts_at_merge": "carry"}],
}
COMPILES = "compiles"  # as long as all others together: for one method of each execution, for every one if slow
ALL = tuple(check for check in CHECKS if check != COMPILES)
BRIEF = (
    "builds",
    "features_as_declared",
    "identity_at_start",
    "frozen_bits",
    "gradients",
    "count_is_closed_form",
    "execution_as_declared",
    "number_of_tasks",
)
"""What a network or a setting can break: asked in CI where every promise is asked only by the slow command."""
TWO = ("vmt", "lora")
"""What CI asks of networks beyond Swin and ViT: a method that runs the trunk once, and one that does for each task."""


def subject_of(name: str, family: str, settings: dict[str, object]) -> Subject:
    method = plugins.load("methods", name)
    return Subject(method, method.Config(name=name, **settings), family)


def families(name: str) -> list[str]:
    needs = plugins.listings("methods")[name].attributes.get("needs", ())
    return [family for family in TINY if not tiny_backbone(family).missing(needs)]


def keeps(subject: Subject, checks: Iterable[str]) -> None:
    """Fail with all verdicts unless every check was made and nothing speaks against one."""
    chosen = {name: {**CHECKS, **SLOW_CHECKS}[name] for name in checks}
    verdicts = judge_all(subject, chosen)
    assert [verdict.check for verdict in verdicts] == list(chosen), "\n".join(map(str, verdicts))
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))


PAIRS = [(name, family) for name in plugins.listings("methods") for family in families(name)]
FIRST = [(name, family) for name, family in PAIRS if family == families(name)[0]]
FURTHER = [pair for pair in PAIRS if pair not in FIRST]
SETTINGS = pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, others in OTHER_SETTINGS.items() for settings in others],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)


@pytest.mark.parametrize(("name", "family"), FIRST)
def test_a_method_keeps_every_promise(name: str, family: str) -> None:
    keeps(subject_of(name, family, {}), ALL)


@pytest.mark.parametrize(
    ("name", "family"), [(name, family) for name, family in FURTHER if family == "vit" or name in TWO]
)
def test_a_method_keeps_on_a_further_network_what_networks_break(name: str, family: str) -> None:
    keeps(subject_of(name, family, {}), BRIEF)


@SETTINGS
def test_a_method_keeps_under_other_settings_what_settings_break(name: str, settings: dict[str, object]) -> None:
    keeps(subject_of(name, families(name)[0], settings), BRIEF)


@pytest.mark.parametrize("execution", daily(EXECUTIONS, ("tapped", "streamed", "forked")))
def test_every_execution_compiles(execution: str) -> None:
    name, settings = EXECUTIONS[execution]
    subject = subject_of(name, families(name)[0], settings)
    assert subject.build().method.execution == execution
    keeps(subject, [COMPILES])


def test_every_execution_is_one_of_those_that_are_compiled() -> None:
    executions = [listing.attributes.get("executions", ("shared",)) for listing in plugins.listings("methods").values()]
    assert {execution for several in executions for execution in several} == EXECUTIONS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_a_method_keeps_the_promises_that_take_long(name: str, family: str) -> None:
    keeps(subject_of(name, family, {}), [COMPILES] if (name, family) in FIRST else CHECKS)


@pytest.mark.slow
@SETTINGS
def test_a_method_keeps_every_promise_under_other_settings(name: str, settings: dict[str, object]) -> None:
    keeps(subject_of(name, families(name)[0], settings), CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_two_processes_and_the_default_compiler_change_nothing(execution: str) -> None:
    name, settings = EXECUTIONS[execution]
    subject = subject_of(name, "vit", settings)
    assert subject.build().method.execution == execution
    verdicts = judge_all(subject, SLOW_CHECKS)
    assert all(verdict.outcome == "ok" for verdict in verdicts), "\n".join(map(str, verdicts))


def test_other_settings_are_those_of_methods_that_there_are() -> None:
    assert OTHER_SETTINGS.keys() <= plugins.listings("methods").keys()
