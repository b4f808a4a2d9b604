"""The short form of the fuzz: what is mutated is planned, refused in words, or runs; the long form is a command."""

from pathlib import Path

import pytest
from fuzz import fuzz

from petl_bench.cli.main import main


def test_mutated_configurations_and_command_lines_are_answered(tmp_path: Path) -> None:
    tally = fuzz(tmp_path, configurations=120, lines=20, seed=7)
    assert tally.findings == []
    ways = ("mapping", "arguments", "experiment", "text")
    assert all(tally.answered[f"{way} {how}"] for way in ways for how in ("planned", "refused")), "a way in was closed"
    assert {"line exit 0", "line exit 2"} <= tally.answered.keys()


def test_a_planted_crash_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr("petl_bench.plan.unknown_name", crash)
    tally = fuzz(tmp_path, configurations=200, lines=0, seed=7)
    assert any("KeyError: 'planted'" in finding for finding in tally.findings)


@pytest.mark.parametrize("name", ["x" * 300])
@pytest.mark.parametrize(
    "words", [["data", "unpack", "{}", "out"], ["data", "check", "nyud", "--root", "{}"], ["report", "{}"]]
)
def test_a_name_that_the_system_refuses_is_answered(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([word.format(name) for word in words])
    assert left.value.code == 2
    assert "File name too long" in capsys.readouterr().err


def test_every_reason_of_the_table_of_support_has_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["list", "backbones", "--support"])
    assert left.value.code in (0, None)
    assert "(27) " in capsys.readouterr().out, "more reasons than letters"
