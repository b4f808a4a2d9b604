"""``reports`` are what the committed records give, and the README says what they say."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from petl_bench.experiment import Roles, read_experiment
from petl_bench.records.refit import read_scaling
from petl_bench.report import Report, report
from petl_bench.report.analysis import analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.scaling.page import CURVES, PAGE, RECORD, write_scaling
from petl_bench.report.tables import to_markdown
from petl_bench.signed import LIST, listed_in

ROOT = Path(__file__).resolve().parents[2]
REPORTS, RUNS = ROOT / "reports", ROOT / "reports" / "runs"
STEPS = {"main": "500 steps", "main-full": "2,000 steps"}


@pytest.fixture(scope="module")
def roles() -> Roles:
    """Who plays which part on both pages."""
    return read_experiment(ROOT / "experiments" / "main-tuned.toml").report


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, roles: Roles) -> Mapping[str, Report]:
    """The reports made anew."""
    out = tmp_path_factory.mktemp("again")
    return {name: report([RUNS / name], out / name, roles) for name in STEPS}


@pytest.mark.parametrize("page", STEPS)
def test_the_committed_page_is_made_again_from_the_committed_records(again: Mapping[str, Report], page: str) -> None:
    out, committed = again[page].page.parent, REPORTS / page
    made = {str(path.relative_to(out)) for path in again[page].files}
    assert made == {str(path.relative_to(committed)) for path in committed.rglob("*") if path.is_file()} - {LIST}
    assert listed_in(committed) == made, "the list of what a report may replace"
    for name in sorted(made):
        if name.endswith((".md", ".tex")):
            assert (out / name).read_text("utf-8") == (committed / name).read_text("utf-8"), name
        elif name.endswith(".csv"):
            pd.testing.assert_frame_equal(pd.read_csv(out / name), pd.read_csv(committed / name), rtol=1e-9)


def both_budgets(roles: Roles) -> pd.DataFrame:
    """Return delta_m of every row at both budgets, and the mean gain over ``full`` likewise."""
    columns: dict[str, dict[str, str]] = {}
    for reference, what in (("single", "delta_m (%)"), ("full", "gain over full (%)")):
        chosen = roles.model_copy(update={"reference": reference})
        for name, steps in STEPS.items():
            (comparison,) = comparisons(load([RUNS / name]).runs, chosen)
            rows = [row for row in analyse(comparison, chosen, {}).rows if row.delta_m is not None and row.runs]
            columns[f"{steps}: {what}"] = {
                row.label: f"{row.delta_m.mean:+.2f} ± {row.delta_m.sd:.2f}" for row in rows if row.delta_m
            }
    return pd.DataFrame(columns).rename_axis("method").reset_index()


def test_the_table_of_both_budgets_in_the_readme_is_that_of_the_records(roles: Roles) -> None:
    table = both_budgets(roles)
    assert len(table) == 11
    assert to_markdown(table) in (ROOT / "README.md").read_text("utf-8")


def test_what_the_readme_says_of_more_rooms_is_what_their_records_say() -> None:
    runs = load([RUNS / "more-rooms"]).runs
    assert {run.settings["dataset.train_images"] for run in runs} == {800}
    scores = {(run.method, run.seed): {task: run.result(task) for task in run.tasks} for run in runs}

    def over(first: str, second: str, seed: int) -> float:
        gains: list[float] = []
        for task, result in scores[first, seed].items():
            other = scores[second, seed][task]
            assert result is not None
            assert other is not None
            sign = 1 if result.metrics[result.primary].higher_is_better else -1
            gains.append(sign * (result.metrics[result.primary].value / other.metrics[other.primary].value - 1))
        return 100 * sum(gains) / len(gains)

    seeds = sorted(seed for method, seed in scores if method == "adapter")
    by_seed = [f"{over('vmt', 'adapter', seed):.1f}" for seed in seeds]
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"by {', '.join(by_seed[:-1])} and {by_seed[-1]} %" in text
    below = [f"{-over(name, 'full', 0):.1f}" for name in ("vmt", "adapter", "bitfit")]
    assert "then {} % below `full`, the shared adapter {} %, `bitfit` {} %".format(*below) in text


def test_the_table_of_the_readme_is_that_of_the_page(again: Mapping[str, Report]) -> None:
    (group,) = again["main"].groups
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
