"""Damaged records are listed by name and left out; none of them breaks a report."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from report_store import ROLES, full_store, write

from petl_bench.errors import UsageError
from petl_bench.report.analysis import analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.raw import runs_frame, to_frame
from petl_bench.report.tables import main_table, to_latex, to_markdown

WORDS = ["", "../../etc", "<b>", "=1+1", "\x1b[31m", "\ud800"]
NASTY = [None, True, -1, 10**30, float("nan"), [], {}, [1], {"a": 1}, *WORDS]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, one in inner for place in places(one, (*path, key)))]


def tables(store: Path) -> None:
    loaded = load([store])
    analyses = [analyse(comparison, ROLES, {}) for comparison in comparisons(loaded.runs, ROLES)]
    for analysis in analyses:
        table = main_table(analysis)
        (to_markdown(table) + to_latex(table) + to_frame(analysis).to_csv()).encode()
    runs_frame(analyses).to_csv().encode()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", range(12))
def test_no_damage_to_a_record_breaks_the_tables(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    store = write(tmp_path / "runs", full_store())
    path = draw.choice(sorted(store.glob("*/record.json")))
    content = json.loads(path.read_text())
    place = draw.choice(places(content))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = draw.choice(NASTY)
    path.write_text(json.dumps(content))
    try:
        tables(store)
    except UsageError as error:
        pytest.fail(f"{place}: one damaged record stopped the report: {error}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("config", "method", "name"), {}),
        (("config", "method", "name"), "../../etc"),
        (("config", "dataset", "image_size"), -5),
        (("config", "train", "steps"), 10**30),
        (("config", "train", "learning_rate", "method"), "fast"),
        (("config", "tasks"), []),
        (("config", "seed"), -1),
        (("fingerprint",), "../../etc"),
        (("parameters", "shared"), -1),
        (("parameters", "backbone"), 10**30),
    ],
)
def test_a_record_of_wrong_types_or_sizes_is_named(place: tuple[str, ...], value: object, tmp_path: Path) -> None:
    store = write(tmp_path / "runs", full_store())
    path = sorted(store.glob("*/record.json"))[0]
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    assert load([store]).damaged == (path,)
