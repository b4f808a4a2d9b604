"""Every shipped method keeps every promise of the contract, on Swin and on ViT."""

import pytest

from petl_bench import plugins
from petl_bench.testing import CHECKS, Subject, check_method

OTHER_SETTINGS = {"lora": [{"scope": "shared"}, {"norm": "none"}], "vmt": [{"rho": 2, "activation": "relu"}]}


def subjects() -> list[Subject]:
    found: list[Subject] = []
    for name in plugins.listings("methods"):
        method = plugins.load("methods", name)
        for settings in [{}, *OTHER_SETTINGS.get(name, [])]:
            found += [Subject(method, method.Config(name=name, **settings), family) for family in method.families]
    return found


def title(subject: Subject) -> str:
    changed = subject.config.model_dump(exclude_defaults=True, exclude={"name"})
    return "-".join([subject.method.name, subject.family, *map(str, changed.values())])


@pytest.mark.parametrize("subject", subjects(), ids=title)
@pytest.mark.parametrize("check", CHECKS)
def test_method_keeps_its_promise(check: str, subject: Subject) -> None:
    CHECKS[check](subject)


def test_check_method_gives_one_verdict_per_property() -> None:
    verdicts = check_method(plugins.load("methods", "decoders"))
    assert [verdict.check for verdict in verdicts] == list(CHECKS)
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))
