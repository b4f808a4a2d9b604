"""Tuning as it is typed: ordinary runs of a store, found again, and an experiment with what was chosen."""

import json
from pathlib import Path

import pytest

from petl_bench import plan, plugins
from petl_bench.cli.main import main
from petl_bench.engine.run import run
from petl_bench.experiment import read_experiment
from petl_bench.records.store import Store
from petl_bench.tuning.points import points
from petl_bench.tuning.rows import SEED, tuning_rows

EXPERIMENT = """
title = "t"
question = "q"
seeds = [0, 1]
report = { reference = "decoders" }

[base]
budget = "smoke"
tasks = 1
backbone = { weights = "random" }
dataset = { image_size = 32, train_images = 8, val_images = 4 }
decoder = { width = 16 }
train = { steps = 2 }

[[rows]]
method = ["decoders", "vmt"]
"""


def typed(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_what_is_left_of_the_points_is_run_and_the_chosen_rows_are_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store, tuned = tmp_path / "experiment.toml", tmp_path / "runs", tmp_path / "tuned.toml"
    path.write_text(EXPERIMENT)
    rows = tuning_rows(read_experiment(path), {"runtime": {"device": "cpu", "threads": 1}})
    for settings in [one for row in rows for one in row.trials(points(1, SEED), SEED)][:-1]:
        run(plan.plan(settings, plugins.vocabulary), Store(store))
    arguments = ["tune", str(path), "--points", "1", "--jobs", "1", "--device", "cpu", "--out", str(store)]
    capsys.readouterr()
    assert typed(*arguments, "--dry-run") == 0
    assert "4 runs: 3 done, 1 new; 1 to do" in capsys.readouterr().out
    assert typed(*arguments, "--write", str(tuned), "--format", "json") == 0
    said = capsys.readouterr()
    assert "4 runs: 3 done, 1 new; 1 to do" in said.err
    assert "on val:4, one seed, relative to decoders at its default" in said.err
    found = json.loads(said.out)
    assert [(row["row"], row["finished"], row["failed"]) for row in found] == [("decoders", 2, 0), ("vmt", 2, 0)]
    assert found[0]["default"] == 0
    assert all(row["chosen"] >= max(row["default"], row["median"]) for row in found)
    assert typed("sweep", str(tuned), "--device", "cpu", "--out", str(store), "--dry-run") == 0
    assert "4 runs: 4 new; 4 to do" in capsys.readouterr().out
    assert typed(*arguments, "--write", str(path)) == 2
    assert "not written by" in capsys.readouterr().err
