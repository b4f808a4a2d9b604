"""Configs are strict, reach every key, and are hashed by content."""

import pytest
from conftest import resolved

from petl_bench import plugins
from petl_bench.config import assign, merge, parse_value, validate_section
from petl_bench.errors import UsageError
from petl_bench.experiment import Experiment, expand
from petl_bench.plan import choose_tasks

TASKS = ("semseg", "human_parts", "saliency", "normals")


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 8), ("1e-4", 1e-4), ("true", True), ("tap", "tap"), ('"tap"', "tap"), ("[1, 2]", [1, 2]), ("", "")],
)
def test_set_values_are_toml_or_plain_strings(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_a_misspelt_key_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"Unknown key 'method.rhoo'. Did you mean 'method.rho'\?"):
        resolved("vmt", method={"rhoo": 8})
    with pytest.raises(UsageError, match=r"Did you mean 'train.learning_rate.method'\?"):
        resolved("vmt", train={"learning_rate": {"metod": 1e-3}})
    with pytest.raises(UsageError, match="Unknown section 'trian'"):
        resolved("vmt", trian={"steps": 3})


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"method": {"rho": "8"}}, "method.rho"),
        ({"method": {"rho": 0}}, "method.rho"),
        ({"method": {"task_path": "tpa"}}, "'tap'"),
        ({"train": {"steps": 1.5}}, "train.steps"),
        ({"train": {"learning_rate": {"method": -1.0}}}, "train.learning_rate.method"),
        ({"seed": "a"}, "seed"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key(sections: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        resolved("vmt", **sections)


def test_a_text_in_place_of_a_methods_section_is_refused_by_every_method() -> None:
    names = list(plugins.listings("methods"))
    assert "vmt-lite" in names, "its defaults depend on its settings"
    for name in names:
        with pytest.raises(UsageError, match="expected is an object"):
            validate_section(plugins.load("methods", name).Config, "text", "method")  # pyright: ignore[reportArgumentType]


def test_a_key_below_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="is a value, not a section"):
        assign({"method": {"rho": 4}}, "method.rho.x", 1)


def test_tasks_come_in_the_datasets_order_however_typed() -> None:
    assert choose_tasks("normals,semseg", TASKS, "d") == ("semseg", "normals")
    assert choose_tasks("2", TASKS, "d") == choose_tasks(2, TASKS, "d") == ("semseg", "human_parts")


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0", "1 to 4"),
        (5, "1 to 4"),
        ("normal", "Did you mean 'normals'"),
        ("semseg,semseg", "more than once"),
        ([], "a number or a list"),
    ],
)
def test_tasks_that_cannot_be_are_refused(asked: object, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        choose_tasks(asked, TASKS, "d")


def test_an_experiment_expands_to_rows_times_grids_times_seeds() -> None:
    experiment = Experiment.model_validate(
        {
            "title": "t",
            "question": "q",
            "seeds": [0, 1],
            "base": {"tasks": 2, "train": {"steps": 3}},
            "rows": [
                {"method": "a", "grid": {"method.x": [1, 2]}},
                {"method": "b", "set": {"backbone.weights": "random"}},
            ],
            "report": {"reference": "a"},
        }
    )
    runs = expand(experiment, {"budget": "smoke", "train": {"batch_size": 2}})
    assert len(runs) == 6
    assert [(run["method"], run["seed"]) for run in runs[:3]] == [
        ({"name": "a", "x": 1}, 0),
        ({"name": "a", "x": 1}, 1),
        ({"name": "a", "x": 2}, 0),
    ]
    assert runs[-1]["backbone"] == {"weights": "random"}
    assert all(run["train"] == {"steps": 3, "batch_size": 2} and run["budget"] == "smoke" for run in runs)


def test_a_seed_that_is_asked_for_replaces_the_experiments() -> None:
    experiment = Experiment.model_validate(
        {"title": "t", "question": "q", "seeds": [0, 1], "rows": [{"method": "a"}], "report": {"reference": "a"}}
    )
    assert [run["seed"] for run in expand(experiment, {"seed": 7})] == [7]


def test_merge_leaves_its_arguments_alone() -> None:
    base = {"a": {"b": 1}}
    assert merge(base, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("axis", "part"),
    [
        ("train.lerning_rate", "Did you mean 'train.learning_rate'"),
        ("backbone.weights", "Rows on other initial weights are controls"),
        ("seed", "Allowed: method, decoder, dataset, train, budget"),
    ],
)
def test_an_axis_that_is_no_setting_of_a_table_is_refused(axis: str, part: str) -> None:
    content = {"title": "t", "question": "q", "rows": [{"method": "a"}], "report": {"reference": "a", "axes": [axis]}}
    with pytest.raises(UsageError, match=part):
        validate_section(Experiment, content, "")
