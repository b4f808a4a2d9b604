"""Arguments and settings that nobody should type: an answer and exit 2, or a dry run; never a traceback."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from petl_bench import plan, plugins
from petl_bench.cli.main import main
from petl_bench.config import BUDGETS
from petl_bench.errors import UsageError

RUN = ["run", "--method", "vmt", "--dry-run"]
SMOKE = ["run", "--method", "decoders", "--budget", "smoke"]
LINES = [
    [*RUN, "--tasks=²"],
    [*RUN, "--tasks", "9" * 5000],
    [*RUN, "--set", "method=3"],
    [*RUN, "--set", "train.steps=07:32:00"],
    [*RUN, "--set", "train.steps=1979-05-27"],
    [*RUN, "--set", "method.rho=\ud800"],
    [*RUN, "--set", "method.rho=" + "[" * 3000],
    [*RUN, "--set", "a" + ".a" * 3000 + "=1"],
    [*RUN, "--set", "train=" + "{a=" * 900 + "1" + "}" * 900],
    [*RUN, "--set", "train.steps=" + "9" * 5000],
    [*RUN, "--set", "train.learning_rate.method=nan"],
    [*RUN, "--seeds", "0-99999999999"],
    [*RUN, "--seeds", "0-" + "9" * 5000],
    [*RUN, "--set", "budget=[]"],
    [*RUN, "--set", "backbone.name=3"],
    [*RUN, "--set", "=3"],
    [*RUN, "--set", "train..steps=3"],
    [*RUN, "--root", "\x00"],
    [*SMOKE, "--out", "y" * 300],
    [*SMOKE, "--device", "hpu"],
    ["run", "\ud800.toml"],
    ["run", "x" * 300 + ".toml"],
    ["report", "\x00"],
    ["status", "\x00"],
    ["status", "/dev/null"],
    ["sweep", "\x00.toml"],
    ["tune", "main", "--write", "\x00.toml", "--dry-run"],
    ["tune", "main", "--set", "seed=x", "--dry-run"],
    ["list", "\ud800"],
]


@pytest.mark.parametrize("line", LINES, ids=[str(number) for number in range(len(LINES))])
def test_a_nasty_command_line_is_answered(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(line)
    assert left.value.code in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    10**30,
    1e308,
    "",
    "x",
    "vmt",
    "\ud800",
    "../x",
    [],
    {},
    [1],
    {"name": 3},
    {"a": {}},
]
KEYS = ["name", "steps", "rho", "x", "", "learning_rate", "image_size", "weights", "device", "method", "\ud800"]


def nested(draw: random.Random, depth: int = 0) -> Any:
    if depth < 3 and draw.random() < 0.5:
        return {draw.choice(KEYS): nested(draw, depth + 1) for _ in range(draw.randrange(4))}
    return draw.choice(VALUES)


def test_a_thousand_random_settings_are_planned_or_answered() -> None:
    draw = random.Random(0)
    sections = ["backbone", "decoder", "dataset", "train", "runtime", "tasks", "budget", "seed", "x"]
    planned = 0
    for _ in range(1000):
        settings: dict[str, Any] = {"method": {"name": "vmt"}, "budget": draw.choice([*BUDGETS])}
        for _ in range(draw.randrange(1, 4)):
            settings[draw.choice(sections)] = nested(draw)
        if draw.random() < 0.2:
            settings["method"] = nested(draw)
        with suppress(UsageError):
            plan.plan(settings, plugins.vocabulary)
            planned += 1
    assert planned, "nothing was valid, so nothing but refusals was tested"
