"""Equal tuning: the same points for every row, chosen from records, written as an experiment."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_store import REFERENCE, TASKS, record_of, usual

from petl_bench import plan, plugins
from petl_bench.config import TrainConfig, merge
from petl_bench.errors import UsageError
from petl_bench.experiment import Experiment, expand, experiments_folder, read_experiment
from petl_bench.records.run import RunRecord
from petl_bench.tuning.choose import Choice, Trial, Tuned, choose
from petl_bench.tuning.points import BOX, Point, points
from petl_bench.tuning.rows import TuningRow, base_of, reference_of, tuning_rows
from petl_bench.tuning.write import require_ours, tuned_experiment, write_experiment

INNER = Point(3e-3, 2.0, 0.05)
CORNER = Point(14e-3, 0.52, 0.05)
EXPERIMENT = """
title = "t \\u007f"
question = "q"
seeds = [0, 1]
exclude = [{ method = "lora", seed = 1 }]
report = { reference = "single", controls = [{ label = "c", method = "single", weights = "random" }] }

[base]
budget = "smoke"
tasks = 2
dataset = { image_size = 32 }
train = { balancer = { name = "dwa", period = 3 } }

[[rows]]
method = "single"
set = { "backbone.weights" = "random" }

[[rows]]
method = ["single", "lora"]
grid = { "train.steps" = [10, 20] }

[[rows]]
method = "vmt"
set = { "train.balancer" = { name = "pcgrad" } }
exclude = [{ seed = 0 }]
"""


def row(method: str) -> TuningRow:
    return TuningRow(method, {}, (), {"method": {"name": method}})


def ended(method: str, gain: float, *, error: str | None = None, **more: Any) -> RunRecord:
    return record_of(usual(method, gain, seeds=(0,), error=error, **more)[0])


def chosen_among(*trials: Trial, reference: float = 0.0) -> Choice:
    """What is chosen for ``vmt`` beside a reference that is better than ``REFERENCE`` by a share."""
    single = row("single")
    tuned = choose(single, [(row("vmt"), trials), (single, [Trial(None, ended("single", reference))])])
    return tuned.choices[0]


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return read_experiment(path)


@settings(deadline=None)
@given(number=st.integers(1, 64), more=st.integers(0, 64), seed=st.integers(0, 2**31))
def test_points_lie_in_the_box_and_more_of_them_begin_with_the_same(number: int, more: int, seed: int) -> None:
    found = points(number, seed)
    assert len(set(found)) == number
    assert points(number + more, seed)[:number] == found
    for point in found:
        assert all(-0.01 < place < 1.01 for place in point.places.values()), "but for rounding"


def test_points_are_spread_evenly_and_follow_the_seed() -> None:
    found = points(16, 0)
    for name in BOX:
        assert sorted(int(point.places[name] * 16) for point in found) == pytest.approx(list(range(16)), abs=1)
    assert set(found).isdisjoint(points(16, 1))


def test_the_defaults_lie_inside_the_box() -> None:
    train = TrainConfig(steps=1, batch_size=1)
    rates = train.learning_rate
    for other in (rates.method, rates.backbone):
        assert Point(rates.decoder, rates.decoder / other, train.weight_decay).edges == ()


def test_every_row_of_an_experiment_gets_its_default_and_the_same_points(experiment: Experiment) -> None:
    over = {"budget": "quick", "train": {"weight_decay": 0.2}, "seed": 7, "dataset": {"scored_split": "test"}}
    rows, drawn = tuning_rows(experiment, over), points(3, 7)
    assert [one.label for one in rows] == [
        "single (weights=random)",
        *(f"{method} (steps={steps})" for method in ("single", "lora") for steps in (10, 20)),
        "vmt (balancer={'name': 'pcgrad'})",
    ]
    said = []
    for one in rows:
        trials = [plan.plan(trial, plugins.vocabulary) for trial in one.trials(drawn, 7)]
        assert {(trial.seed, trial.dataset.scored_split, trial.budget) for trial in trials} == {(7, "val", "quick")}
        assert trials[0].train.weight_decay == 0.2, "what is asked for is the default"
        said.append([(trial.train.learning_rate, trial.train.weight_decay) for trial in trials[1:]])
        for point, trial in zip(drawn, trials[1:], strict=True):
            rate = trial.train.learning_rate
            assert (rate.decoder, trial.train.weight_decay) == (point.decoder_rate, point.weight_decay)
            assert rate.method == rate.backbone == pytest.approx(point.decoder_rate / point.ratio, rel=5e-3)
    assert all(one == said[0] for one in said)
    assert reference_of(experiment, rows) is rows[1], "the first one is a control"


def test_an_experiment_without_its_reference_is_answered(experiment: Experiment) -> None:
    lonely = experiment.model_copy(update={"rows": experiment.rows[:1]})
    with pytest.raises(UsageError, match="the reference 'single', of which the experiment has no row"):
        reference_of(lonely, tuning_rows(lonely, {}))


def test_the_highest_delta_m_is_chosen_relative_to_the_reference_at_its_default() -> None:
    found = chosen_among(
        Trial(None, ended("vmt", -0.2)), Trial(INNER, ended("vmt", 0.1)), Trial(CORNER, ended("vmt", -0.1))
    )
    assert found.deltas == pytest.approx((-20, 10, -10))
    assert found.chosen == found.trials[1]
    assert found.edges == ()
    said = found.as_row()
    assert (said["default"], said["chosen"], said["gained"], said["median"], said["worst"]) == (-20, 10, 30, -10, -20)
    assert (said["finished"], said["failed"], said["minutes"]) == (3, 0, 3.0)
    other = chosen_among(Trial(None, ended("vmt", 0.0)), reference=0.25)
    gains = [1 / 1.25 - 1 if TASKS[task][2] else 1 - 1 / 0.75 for task in REFERENCE]
    assert other.deltas[0] == pytest.approx(100 * sum(gains) / len(gains))


def test_the_default_is_kept_in_a_tie_and_the_first_of_equal_points_chosen() -> None:
    equal = chosen_among(Trial(None, ended("vmt", 0.1)), Trial(INNER, ended("vmt", 0.1)))
    assert equal.chosen == equal.trials[0]
    assert equal.as_row()["at_the_edge"] == "the default"
    later = chosen_among(*(Trial(point, ended("vmt", 0.1)) for point in (INNER, CORNER)))
    assert later.chosen == later.trials[0]


def test_failures_are_told_and_never_chosen() -> None:
    found = chosen_among(
        Trial(None, ended("vmt", 0.0, error="Traceback ...\nnot finite\n")), Trial(INNER, ended("vmt", -0.5))
    )
    assert found.chosen == found.trials[1]
    assert found.is_complete
    ((name, why),) = found.failures
    assert (name.startswith("vmt-s0-"), why) == (True, "not finite")
    said = found.as_row()
    assert (said["finished"], said["failed"], said["default"], said["gained"], said["chosen"]) == (
        1,
        1,
        None,
        None,
        -50,
    )


def test_a_point_near_the_edge_of_the_box_says_which() -> None:
    assert chosen_among(Trial(CORNER, ended("vmt", 0.0, shared=9))).edges == ("decoder rate high", "rate ratio low")
    assert chosen_among(Trial(CORNER, ended("vmt", 0.0, shared=0))).edges == ("decoder rate high",), (
        "no weights of its own"
    )


def test_nothing_is_chosen_without_numbers_or_without_a_reference() -> None:
    found = chosen_among(Trial(None, None), Trial(INNER, ended("vmt", 0.0, error="e")))
    assert found.chosen is None
    assert not found.is_complete
    assert (found.as_row()["chosen"], found.as_row()["decoder_rate"]) == (None, None)
    single = row("single")
    for record in (None, ended("single", 0.0, error="e")):
        tuned = choose(single, [(single, [Trial(None, record)]), (row("vmt"), [Trial(None, ended("vmt", 0.0))])])
        assert (tuned.tasks, tuned.choices[1].chosen, tuned.is_whole) == ({}, None, False)


def test_tasks_seen_in_pretraining_and_other_conventions_stay_out() -> None:
    single, scores = row("single"), {**REFERENCE, "semseg": 100.0}
    seen = record_of(usual("single", 0.0, seeds=(0,), seen=("semseg",))[0])
    high = record_of(usual("vmt", 0.0, seeds=(0,))[0].__class__(method="vmt", scores=scores))
    other = ended("vmt", 0.0, conventions={"normals": "other/1"})
    tuned = choose(single, [(single, [Trial(None, seen)]), (row("vmt"), [Trial(None, high), Trial(INNER, other)])])
    assert sorted(tuned.tasks) == ["human_parts", "normals", "saliency"]
    assert tuned.choices[1].deltas[0] == pytest.approx(0.0)
    assert math.isnan(tuned.choices[1].deltas[1])


def test_the_written_experiment_runs_the_chosen_rows_on_the_test_images(experiment: Experiment, tmp_path: Path) -> None:
    over = {"budget": "quick", "seed": 7, "runtime": {"device": "cpu"}}
    rows, drawn = tuning_rows(experiment, over), points(1, 7)
    trained = [
        [plan.plan(trial, plugins.vocabulary).model_dump(mode="json") for trial in one.trials(drawn, 7)] for one in rows
    ]
    record = ended("vmt", 0.0)
    choices = []
    for number, (one, configs) in enumerate(zip(rows, trained, strict=True)):
        runs = [record.model_copy(update={"config": config}) for config in configs]
        trials = tuple(Trial(point, run) for point, run in zip((None, *drawn), runs, strict=True))
        choices.append(Choice(one, trials, (0.0, 1.0 if number % 2 else -1.0)))
    path = tmp_path / "new" / "tuned.toml"
    write_experiment(path, tuned_experiment(experiment, over, Tuned(tuple(choices), {}), "how\nit was"))
    read = read_experiment(path)
    assert (read.title, read.seeds, read.report.reference) == ("t \x7f, tuned", (0, 1), "single")
    assert read.report.axes == ("method", "train.learning_rate", "train.weight_decay")
    runs = [plan.plan(one, plugins.vocabulary).model_dump(mode="json") for one in expand(read, {})]
    left_out = {("lora", 1), ("vmt", 0)}
    expected = [
        merge(configs[number % 2], {"seed": seed, "dataset": {"scored_split": "test"}, "runtime": {"device": "auto"}})
        for number, configs in enumerate(trained)
        for seed in (0, 1)
        if (configs[0]["method"]["name"], seed) not in left_out
    ]
    assert runs == expected
    write_experiment(path, read)
    assert read_experiment(path) == read


@pytest.mark.parametrize(
    ("own", "over", "budget"), [("smoke", None, "smoke"), ("smoke", "full", "full"), (None, None, "quick")]
)
def test_the_written_experiment_says_the_budget_of_its_rates(
    experiment: Experiment, tmp_path: Path, own: str | None, over: str | None, budget: str
) -> None:
    base = {key: value for key, value in {**experiment.base, "budget": own}.items() if value is not None}
    chosen = tuned_experiment(
        experiment.model_copy(update={"base": base}), {"budget": over} if over else {}, Tuned((), {}), "by hand"
    )
    assert chosen.base["budget"] == budget
    assert chosen.report.tuned is not None
    assert chosen.report.tuned.budget == budget


def test_a_file_of_somebody_else_is_never_written_over(experiment: Experiment, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="not written by"):
        write_experiment(path, experiment)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(UsageError, match=r"--write .*mine.toml"):
        require_ours(tmp_path / "mine")
    with pytest.raises(UsageError, match="cannot be written"):
        require_ours(path / "below.toml")


def test_shipped_experiments_can_be_tuned() -> None:
    for path in sorted(experiments_folder().glob("*.toml")):
        read = read_experiment(path)
        rows = tuning_rows(read, {})
        assert reference_of(read, rows) in rows
        assert base_of(read, {}) == read.base
