"""What a run says of the place it ran in, and that a refused one is no run."""

from pathlib import Path

import pytest
import torch

from petl_bench.cli.main import main
from petl_bench.engine.environment import environment

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
