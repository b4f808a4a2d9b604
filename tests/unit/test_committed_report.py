"""``reports`` are what the committed records give, and the README says what they say."""

from pathlib import Path

import pandas as pd
import pytest

from petl_bench.experiment import read_experiment
from petl_bench.records.refit import read_scaling
from petl_bench.report import Report, report
from petl_bench.report.scaling.page import CURVES, PAGE, RECORD, write_scaling
from petl_bench.report.tables import to_markdown
from petl_bench.signed import LIST, listed_in

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "reports" / "main"


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report made anew."""
    roles = read_experiment(ROOT / "experiments" / "main-tuned.toml").report
    return report([ROOT / "reports" / "runs" / "main"], tmp_path_factory.mktemp("again") / "main", roles)


def test_the_committed_page_is_made_again_from_the_committed_records(again: Report) -> None:
    out = again.page.parent
    made = {str(path.relative_to(out)) for path in again.files}
    assert made == {str(path.relative_to(COMMITTED)) for path in COMMITTED.rglob("*") if path.is_file()} - {LIST}
    assert listed_in(COMMITTED) == made, "the list of what a report may replace"
    for name in sorted(made):
        if name.endswith((".md", ".tex")):
            assert (out / name).read_text("utf-8") == (COMMITTED / name).read_text("utf-8"), name
        elif name.endswith(".csv"):
            pd.testing.assert_frame_equal(pd.read_csv(out / name), pd.read_csv(COMMITTED / name), rtol=1e-9)


def test_the_table_of_the_readme_is_that_of_the_page(again: Report) -> None:
    (group,) = again.groups
    left_out = ["of them added", "of them the trunk's own", "decoder parameters", "% of one backbone"]
    left_out += ["% of 4 backbones", "floor-corrected gain (%) ↑", "train seconds", "seeds"]
    table = group.table.drop(columns=left_out)
    assert to_markdown(table) in (ROOT / "README.md").read_text("utf-8")


def test_the_committed_page_of_scaling_is_made_again_from_the_committed_record(tmp_path: Path) -> None:
    committed = ROOT / "reports" / "scaling"
    record = read_scaling(committed / RECORD)
    assert record is not None
    write_scaling(record, tmp_path)
    assert (tmp_path / PAGE).read_text("utf-8") == (committed / PAGE).read_text("utf-8")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / CURVES), pd.read_csv(committed / CURVES), rtol=1e-9)
    assert f"{record.processes} processes are too few for an interval" in (committed / PAGE).read_text("utf-8")
