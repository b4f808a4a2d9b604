"""What a run says of the place it ran in, and that a refused one is no run."""

from pathlib import Path

import pytest
import torch
from conftest import resolved

from petl_bench.cli.main import main
from petl_bench.engine.device import deterministic
from petl_bench.engine.environment import environment
from petl_bench.engine.run import run
from petl_bench.records.store import Store

ROOT = Path(__file__).resolve().parents[2]


def test_a_commit_is_never_without_whether_anything_was_changed_since() -> None:
    seen = environment(torch.device("cpu"), "float32")
    assert (seen.commit is None) == (seen.dirty is None)
    assert (seen.commit is None) != (ROOT / ".git").exists()


def test_what_is_refused_while_a_run_is_built_is_a_mistake_and_leaves_no_record(tmp_path: Path, capsys) -> None:
    arguments = ["run", "--method", "decoders", "--budget", "smoke", "--tasks", "1"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--set", "dataset.image_size=65", "--out", str(tmp_path / "runs")])
    assert left.value.code == 2
    assert "do not fit the patches" in capsys.readouterr().err
    assert list((tmp_path / "runs").iterdir()) == []


def test_half_of_a_launcher_is_a_mistake(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(SystemExit) as left:
        main(["run", "--method", "decoders", "--budget", "smoke", "--out", str(tmp_path / "runs")])
    assert left.value.code == 2
    assert "LOCAL_RANK is set, as by torchrun, but not" in capsys.readouterr().err


def test_an_operation_that_does_not_repeat_itself_fails_where_only_others_are_allowed() -> None:
    def put_twice() -> None:
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    put_twice()
    with deterministic(asked=True), pytest.raises(RuntimeError, match="deterministic implementation"):
        put_twice()
    with deterministic(asked=False):
        put_twice()


def test_a_deterministic_run_says_so_and_on_a_cpu_is_the_same_run(tmp_path: Path) -> None:
    plain = run(resolved("vmt"), Store(tmp_path / "plain")).record
    held = run(resolved("vmt", runtime={"deterministic": True}), Store(tmp_path / "held")).record
    assert (plain.environment.deterministic, held.environment.deterministic) == (False, True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert held.fingerprint == plain.fingerprint
    assert held.history == plain.history
    assert {task: result.score for task, result in held.metrics.items()} == {
        task: result.score for task, result in plain.metrics.items()
    }
