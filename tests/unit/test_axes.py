"""What an experiment lets vary, and which runs come of it."""

from pathlib import Path

import pytest

from petl_bench.config import validate_section
from petl_bench.errors import UsageError
from petl_bench.experiment import Experiment, expand, read_experiment


def experiment(**content: object) -> Experiment:
    plain = {"title": "t", "question": "q", "rows": [{"method": "a"}], "report": {"reference": "a"}}
    return validate_section(Experiment, {**plain, **content}, "")


def test_lists_are_crossed_taken_in_step_and_taken_one_by_one() -> None:
    read = experiment(
        grid={"train.steps": [1, 2]},
        zip={"method.rank": [4, 8], "method.alpha": [40, 80]},
        points=[{"decoder.name": "hrnet"}, {"decoder.name": "linear", "decoder.width": 3}],
    )
    runs = expand(read, {})
    assert len(runs) == 2 * 2 * 2
    assert {(run["method"]["rank"], run["method"]["alpha"]) for run in runs} == {(4, 40), (8, 80)}
    assert runs[0] == {
        "train": {"steps": 1},
        "method": {"name": "a", "rank": 4, "alpha": 40},
        "decoder": {"name": "hrnet"},
        "seed": 0,
    }
    assert runs[-1]["decoder"] == {"name": "linear", "width": 3}


def test_a_row_may_have_several_methods_and_its_own_settings_have_the_last_word() -> None:
    read = experiment(
        grid={"train.batch_size": [4]},
        rows=[{"method": ["a", "b"]}, {"method": "c", "set": {"train.batch_size": 2}, "grid": {"method.x": [1, 2]}}],
    )
    runs = expand(read, {})
    assert [(run["method"]["name"], run["train"]["batch_size"]) for run in runs] == [
        ("a", 4),
        ("b", 4),
        ("c", 2),
        ("c", 2),
    ]


def test_what_is_excluded_is_left_out_by_settings_method_and_seed() -> None:
    read = experiment(
        seeds=[0, 1],
        grid={"train.steps": [1, 2]},
        rows=[{"method": "a", "exclude": [{"seed": 1}]}, {"method": "b"}],
        exclude=[{"method": "b", "train.steps": 2}],
    )
    seen = {(run["method"]["name"], run["train"]["steps"], run["seed"]) for run in expand(read, {})}
    assert seen == {("a", 1, 0), ("a", 2, 0), ("b", 1, 0), ("b", 1, 1)}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"zip": {"a.x": [1, 2], "a.y": [1]}}, "a.x has 2, a.y has 1"),
        ({"exclude": [{}]}, "an exclude without a key"),
        ({"grids": {}}, "Did you mean 'grid'?"),
        ({"rows": [{"method": []}]}, "rows.0.method"),
    ],
)
def test_what_cannot_be_combined_is_said(content: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        experiment(**content)


FILE = 'title = "t"\nquestion = "q"\nrows = [{ method = "vmt" }]\nreport = { reference = "a" }\n'


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (FILE.encode("utf-16"), "not UTF-8"),
        (FILE.replace('"t"', '"é"').encode("latin-1"), "not UTF-8"),
        ((FILE + "seeds = [1979-05-27]").encode(), "seeds.0 = "),
        ((FILE + f"seeds = [{'1' * 5000}]").encode(), "not valid TOML"),
        ((FILE + f"base = {'[' * 3000}{']' * 3000}").encode(), "not valid TOML"),
    ],
    ids=["utf-16", "latin-1", "date", "digits", "nested"],
)
def test_a_file_that_is_no_experiment_is_a_mistake_and_no_traceback(content: bytes, part: str, tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_bytes(content)
    with pytest.raises(UsageError, match=part):
        read_experiment(tmp_path / "file.toml")


def test_a_byte_order_mark_is_no_part_of_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert read_experiment(tmp_path / "file.toml").title == "t"


def test_what_a_row_sets_in_a_section_of_the_base_stays_in_that_row() -> None:
    read = experiment(
        base={"train": {"batch_size": 4}},
        rows=[{"method": "a", "set": {"train.balancer": {"name": "dwa"}, "train.balancer.period": 3}}, {"method": "b"}],
    )
    before = read.model_dump()
    first, second = expand(read, {})
    assert first["train"] == {"batch_size": 4, "balancer": {"name": "dwa", "period": 3}}
    assert second["train"] == {"batch_size": 4}
    assert read.model_dump() == before


def test_the_number_of_runs_is_that_of_all_combinations() -> None:
    read = experiment(
        grid={"train.steps": [1, 2, 3]},
        zip={"method.rank": [4, 8], "method.alpha": [40, 80]},
        rows=[{"method": ["a", "b"], "points": [{"method.x": 1}, {"method.x": 2}]}, {"method": "c"}],
        seeds=[0, 1],
    )
    assert (read.size, read.rows[0].size, read.rows[1].size) == (6, 2, 1)
    assert len(expand(read, {})) == 6 * (2 * 2 + 1) * 2


def test_a_grid_that_nobody_could_run_is_answered_before_it_is_made() -> None:
    axes = {f"method.axis{number}": list(range(1000)) for number in range(3)}
    with pytest.raises(UsageError, match=r"has 2,000,000,000 runs .* method\.axis0 has 1000 values(?s:.*)zip = "):
        expand(experiment(grid=axes, seeds=[0, 1]), {})
    with pytest.raises(UsageError, match="runs before any is left out"):
        expand(experiment(rows=[{"method": "a", "grid": axes}]), {})
