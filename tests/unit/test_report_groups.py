"""Which runs share a table, and what initial weights have to do with it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from report_store import (
    ROLES,
    Case,
    analysed,
    by_label,
    delta_of,
    full_store,
    text_of,
    usual,
    write,
)

from petl_bench.config import digest
from petl_bench.experiment import Roles
from petl_bench.report.analysis import Analysis, analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load


def groups_of(tmp_path: Path, cases: Sequence[Case], roles: Roles = ROLES) -> list[Analysis]:
    runs = load([write(tmp_path / "runs", cases)]).runs
    return [analyse(comparison, roles, {}) for comparison in comparisons(runs, roles)]


def test_random_weights_outside_of_the_controls_make_a_table_of_their_own_with_a_warning(tmp_path: Path):
    main, other = groups_of(tmp_path, [*full_store(), *usual("vmt", -0.3, weights="random")])
    assert not [note for note in main.notes if note.startswith("Warning")]
    (warning,) = (note for note in other.notes if note.startswith("Warning"))
    assert "`vmt` started from random weights" in warning


def test_a_reference_on_other_initial_weights_gives_no_delta_m(tmp_path: Path):
    main, other = groups_of(tmp_path, [*full_store(), *usual("vmt", -0.3, weights="random")])
    assert delta_of(main, "vmt") == pytest.approx(2.0)
    assert by_label(other)["vmt"].delta_m is None
    assert len(other.missing_references) == 3
    assert all("--set backbone.weights=random" in command for command in other.missing_references)


def test_one_weights_file_under_three_paths_is_one_row_and_another_content_another_table(tmp_path: Path):
    copies = [
        replace(case, weights=f"file:/folder{case.seed}/weights.safetensors", content="one")
        for method, gain in (("single", 0.0), ("vmt", 0.05))
        for case in usual(method, gain)
    ]
    (analysis,) = groups_of(tmp_path / "one", copies)
    assert by_label(analysis)["vmt"].seeds == (0, 1, 2)
    assert delta_of(analysis, "vmt") == pytest.approx(5.0)
    mixed = [replace(case, content="two") if case.method == "single" else case for case in copies]
    assert [by_label(analysis).get("vmt") is None for analysis in groups_of(tmp_path / "two", mixed)] in (
        [True, False],
        [False, True],
    )


def test_no_path_of_a_weights_file_stands_on_the_page(tmp_path: Path):
    cases = [replace(case, weights="file:/home/me/w.safetensors", content="one") for case in usual("single", 0.0)]
    assert f"- Initial weights (hash): file ({digest('one')[:12]})" in text_of(tmp_path, cases)
    assert "/home/me" not in text_of(tmp_path / "again", cases).partition("### Missing runs")[0]


def test_controls_are_compared_across_initial_weights_on_purpose_and_say_so(tmp_path: Path):
    analysis = analysed(tmp_path, full_store())
    assert delta_of(analysis, "from scratch: full") == pytest.approx(-40.0)
    (note,) = (note for note in analysis.notes if "on purpose" in note)
    assert "`random + frozen: decoders`, `from scratch: full`" in note


def test_runs_of_another_training_loop_never_share_a_table(tmp_path: Path):
    cases = [*usual("single", 0.0), *usual("vmt", 0.02, engine_version=1)]
    analyses = groups_of(tmp_path, cases)
    assert sorted(label for analysis in analyses for label in by_label(analysis) if label in ("single", "vmt"))
    assert all({"single", "vmt"} - set(by_label(analysis)) for analysis in analyses)
    titles = sorted(analysis.comparison.title for analysis in analyses)
    assert [title.rpartition(", ")[2] for title in titles] == ["engine_version 1", "engine_version 2"]


def test_what_may_differ_inside_a_table_is_said_by_the_experiment(tmp_path: Path):
    cases = [*usual("single", 0.0), *usual("vmt", 0.02), *usual("vmt", 0.03, learning_rate=2e-3)]
    assert len(groups_of(tmp_path / "one", cases)) == 1
    strict = ROLES.model_copy(update={"axes": ("method",)})
    assert len(groups_of(tmp_path / "two", cases, strict)) == 2
    longer = [*usual("single", 0.0), *usual("vmt", 0.02, steps=700)]
    assert len(groups_of(tmp_path / "three", longer)) == 2
    wide = ROLES.model_copy(update={"axes": ("method", "train.steps")})
    (analysis,) = groups_of(tmp_path / "four", [*longer, *usual("vmt", 0.0)], wide)
    assert {"single", "vmt (steps=500)", "vmt (steps=700)"} <= set(by_label(analysis))


def test_a_control_has_its_label_and_needs_no_settings_to_be_told_from_the_row_of_its_method(tmp_path: Path):
    cases = [*usual("single", 0.0), *usual("full", 0.1), *usual("full", -0.4, weights="random", learning_rate=5e-3)]
    (analysis,) = groups_of(tmp_path, cases)
    assert {"full", "from scratch: full"} <= set(by_label(analysis))
