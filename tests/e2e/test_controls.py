"""Controls that come out wrong take the labels from every time, and the command says so."""

from pathlib import Path

import pytest

from petl_bench.cli.main import main
from petl_bench.records.refit import read_scaling
from petl_bench.report.scaling.tables import time_tables

# The methods in each other's role: what runs T backbones is said to cost nothing, and the other way round.
EXCHANGED = """
title = "t"
question = "q"
rows = [{ method = "single" }, { method = "decoders" }]
report = { reference = "decoders", floor = ["single"] }
"""


@pytest.mark.usefixtures("one_thread")
def test_controls_that_missed_leave_no_time_a_label_and_end_with_exit_1(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "main.toml").write_text(EXCHANGED, encoding="utf-8")
    monkeypatch.setattr("petl_bench.experiment.experiments_folder", lambda: tmp_path)
    arguments = [
        "scaling",
        "--method",
        "decoders",
        "--metric",
        "latency,parameters",
        "--tasks",
        "1,2,4",
        "--part",
        "encoder",
    ]
    arguments += [
        "--phase",
        "infer",
        "--rounds",
        "2",
        "--seconds",
        "0",
        "--processes",
        "1",
        "--threads",
        "1",
        "--batch",
        "1",
    ]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--out", str(tmp_path)])
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert "single (infer) should cost nothing per task" in said
    assert "decoders (infer) should cost one backbone per task" in said

    record = read_scaling(tmp_path / "scaling.json")
    assert record is not None
    assert len(record.missed) == 2
    labels = {
        metric: {row.verdict for row in record.rows if row.metric == metric} for metric in ("latency", "parameters")
    }
    assert labels["latency"] == {"none"}
    assert "none" not in labels["parameters"]
    assert not any(row.contradiction for row in record.rows)

    without = record.model_copy(
        update={"rows": tuple(r for r in record.rows if (r.label, r.metric) != ("single", "latency"))}
    )
    assert "| single |" in time_tables(record)
    assert "| single |" not in time_tables(without)  # counted alone
    assert "| decoders |" in time_tables(without)
