"""How far rows are above the floor, what is noise, and whether a table may say that its rates were tuned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_store import PUBLISHED, REFERENCE, ROLES, Case, analysed, text_of, usual, write

from petl_bench.experiment import Tuned, experiments_folder, read_experiment
from petl_bench.records.store import write_scores
from petl_bench.report.analysis import Analysis, analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load


def scored(method: str, semseg: float, normals: float, seed: int) -> Case:
    return Case(method=method, scores={**REFERENCE, "semseg": semseg, "normals": normals}, seed=seed)


def test_rows_are_so_many_deviations_above_the_floor_whatever_is_better(tmp_path: Path) -> None:
    cases = [scored("single", 50.0 + seed, 20.0 + seed, seed) for seed in (0, 1, 2)]
    cases += [scored("decoders", 40.0 + seed, 26.0 + seed, seed) for seed in (0, 1, 2)]
    found = analysed(tmp_path, cases).headroom
    assert found is not None
    assert found.floor == "decoders"
    # Seeds 0, 1, 2 apart by 1 have the deviation 1 in both rows, so the pooled one is 1.
    assert found.above["single"]["semseg"] == pytest.approx(10.0)
    assert found.above["single"]["normals"] == pytest.approx(6.0)


def test_the_noise_of_seeds_and_of_pictures_is_that_of_the_scores(tmp_path: Path) -> None:
    store = write(tmp_path / "runs", [scored("decoders", 40.0, 26.0, seed) for seed in (0, 1)])
    pictures = np.asarray([1.0, 3.0, np.nan, 5.0, 7.0])  # mean 4, deviation sqrt(20 / 3)
    for folder, shift in zip(sorted(store.iterdir()), (0.0, 2.0), strict=True):
        write_scores(folder, {"semseg": pictures + shift})
    (comparison,) = comparisons(load([store]).runs, ROLES)
    found = analyse(comparison, ROLES, PUBLISHED).headroom
    assert found is not None
    assert set(found.noise) == {"semseg"}
    assert found.noise["semseg"].seeds == pytest.approx(2**0.5)  # of the means 4 and 6
    assert found.noise["semseg"].pictures == pytest.approx((20 / 3) ** 0.5 / 4**0.5)


def test_a_floor_of_one_seed_tells_nothing(tmp_path: Path) -> None:
    cases = [*usual("single", 0.0), *usual("decoders", -0.2, seeds=(0,))]
    assert analysed(tmp_path, cases).headroom is None


def test_the_page_shows_both_tables(tmp_path: Path) -> None:
    text = text_of(tmp_path, [*usual("single", 0.0), *usual("decoders", -0.2)])
    assert "### Above the floor" in text
    assert "| task" in text.split("### Above the floor")[1]
    assert "### Above the floor" not in text_of(tmp_path / "other", usual("single", 0.0))


def with_rates(tmp_path: Path, cases: list[Case], *rows: dict[str, Any], budget: str | None = None) -> Analysis:
    roles = ROLES.model_copy(update={"tuned": Tuned(how="by hand", rows=rows, budget=budget)})
    (comparison,) = comparisons(load([write(tmp_path / "runs", cases)]).runs, roles)
    return analyse(comparison, roles, PUBLISHED)


def test_a_table_is_called_tuned_only_where_every_run_has_the_rates_that_were_found(tmp_path: Path) -> None:
    cases = [*usual("single", 0.0, learning_rate=1e-3), *usual("vmt", 0.0, learning_rate=4e-3)]
    rows = ({"method": "single"}, {"method": "vmt", "train.learning_rate.method": 4e-3})
    assert with_rates(tmp_path / "all", cases, *rows).ranking == "rates tuned: by hand"
    other = [*cases, *usual("vmt", 0.0, learning_rate=5e-3)]
    assert with_rates(tmp_path / "one", other, *rows).ranking.startswith("rates not tuned: no ranking (of vmt ")
    assert with_rates(tmp_path / "none", cases, rows[0]).ranking.startswith("rates not tuned: no ranking (of vmt ")


def test_rates_that_were_found_at_another_budget_are_said_to_be(tmp_path: Path) -> None:
    cases, row = usual("single", 0.0), {"method": "single"}
    (comparison,) = comparisons(load([write(tmp_path / "runs", cases)]).runs, ROLES)
    own = comparison.runs[0].settings["budget"]
    assert with_rates(tmp_path / "same", cases, row, budget=own).ranking == "rates tuned: by hand"
    assert own != "full"
    moved = with_rates(tmp_path / "moved", cases, row, budget="full").ranking
    assert moved == "rates tuned at budget full, not at this one: by hand"
    tuned = read_experiment(experiments_folder() / "main-tuned.toml").report.tuned
    assert tuned is not None
    assert tuned.budget == "quick"
