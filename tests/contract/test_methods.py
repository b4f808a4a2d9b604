"""Every shipped method keeps every promise of the contract, on Swin and on ViT."""

import pytest

from petl_bench import plugins
from petl_bench.testing import CHECKS, SLOW_CHECKS, Subject
from petl_bench.testing.verdict import judge_all

pytestmark = pytest.mark.usefixtures("one_thread")  # the networks are too small for more

# Each on the first family that the method is defined on, where blocks differ in width and windows are shifted.
OTHER_SETTINGS: dict[str, list[dict[str, object]]] = {
    "adapter": [{"scope": "shared", "place": "attention"}, {"place": "both", "activation": "relu"}],
    "adaptformer": [{"scope": "shared", "norm": "none"}],
    "bitfit": [{"scope": "shared"}],
    "compacter": [{"scope": "shared", "variant": "compacter++"}],
    "hyperformer": [{"place": "mlp", "networks": "per-block"}],
    "lora": [{"scope": "shared"}, {"norm": "none"}],
    "low-rank-adapter": [{"scope": "shared"}],
    "mtlora": [{"reduction": "lora"}, {"taps": "after-merge"}],
    "phm": [{"scope": "shared", "rules": "per-layer"}],
    "relative-bias": [{"scope": "shared"}],
    "shared-adapter": [{"place": "both"}],
    "ssf": [{"scope": "shared"}],
    "vmt": [
        {"rho": 2, "activation": "relu"},
        {"task_path": "side", "norm": "block"},
        {"task_path": "trunk", "extract_at": "bottleneck"},
        {"extract": "none"},
        {"extract_from": "last", "extract_at": "pre-activation", "position": "sequential-mlp"},
        {"decoder_input": "concat", "extract": "scale", "position": "parallel-attn"},
        {"decoder_input": "task-only"},
    ],
    "vmt-lite": [{"sharing": "stage-tied"}, {"sharing": "stage-untied"}],
    "vpt": [{"scope": "shared"}, {"deep": False, "prompts_at_merge": "carry"}],
}
COSTLY = ("compiles",)  # half of the seconds; asked of other settings only where they run in another way
SLOW_METHODS = {"shared": "bitfit", "tapped": "vmt", "streamed": "mtlora", "forked": "lora", "replicated": "single"}


def subject_of(name: str, family: str, settings: dict[str, object]) -> Subject:
    method = plugins.load("methods", name)
    return Subject(method, method.Config(name=name, **settings), family)


def families(name: str) -> tuple[str, ...]:
    return plugins.listings("methods")[name].attributes.get("families", ("swin", "vit"))


@pytest.mark.parametrize(
    ("name", "family"), [(name, family) for name in plugins.listings("methods") for family in families(name)]
)
def test_a_method_keeps_every_promise(name: str, family: str) -> None:
    verdicts = judge_all(subject_of(name, family, {}), CHECKS)
    assert [verdict.check for verdict in verdicts] == list(CHECKS), "\n".join(map(str, verdicts))
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, held in OTHER_SETTINGS.items() for settings in held],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_method_keeps_its_promises_under_other_settings(name: str, settings: dict[str, object]) -> None:
    subject = subject_of(name, families(name)[0], settings)
    default = subject_of(name, subject.family, {})
    same = subject.build().method.execution == default.build().method.execution
    checks = {check: call for check, call in CHECKS.items() if not (same and check in COSTLY)}
    verdicts = judge_all(subject, checks)
    assert len(verdicts) == len(checks), "\n".join(map(str, verdicts))
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))


@pytest.mark.slow
@pytest.mark.parametrize("execution", SLOW_METHODS)
def test_two_processes_and_the_default_compiler_change_nothing(execution: str) -> None:
    settings: dict[str, object] = {"scope": "shared"} if execution == "shared" else {}
    subject = subject_of(SLOW_METHODS[execution], "vit", settings)
    assert subject.build().method.execution == execution
    verdicts = judge_all(subject, SLOW_CHECKS)
    assert all(verdict.outcome == "ok" for verdict in verdicts), "\n".join(map(str, verdicts))


def test_other_settings_are_those_of_methods_that_there_are() -> None:
    assert OTHER_SETTINGS.keys() <= plugins.listings("methods").keys()
