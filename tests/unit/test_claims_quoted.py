"""Published figures that nobody can count: accuracies, whose arithmetic is checked, and claims without a table."""

from pathlib import Path

import pytest

from petl_bench.cli.main import main
from petl_bench.errors import UsageError
from petl_bench.measure.count.claims import judge_all, shown
from petl_bench.measure.count.quoted import quoted_lines
from petl_bench.published import read_claims

PUBLISHED = Path(__file__).resolve().parents[2] / "experiments" / "published"

HEAD = """
source = "Somebody, 2020"
address = "https://example.org"
"""
NEEDS = 'needs = "a data set"\n'
REFERENCE = """
[reference]
name = "the row of single tasks"
scores = { semseg = 50.00, normals = 20.00 }
lower_is_better = ["normals"]
"""
DEPTH = REFERENCE.replace("normals", "depth")
ACCURACY = """
[[accuracy]]
row = "Ours: scores"
method = "ours"
table = "Table 1"
published = "PUBLISHED"
provenance = "stated"
scores = { semseg = 55.00, normals = 19.00 }
"""
STATEMENT = """
[[statements]]
row = "Ours: memory"
method = "ours"
table = "abstract"
published = "half the memory"
provenance = "stated"
why = "of what is not said"
"""


def judged(tmp_path: Path, *parts: str, name: str = "one") -> list[dict]:
    (tmp_path / f"{name}.toml").write_text("".join([HEAD, *parts]), encoding="utf-8")
    return judge_all(read_claims(tmp_path))


@pytest.mark.parametrize(
    ("published", "arithmetic"),
    [
        ("+7.50", "agrees"),  # the mean of 10 % and 5 %
        ("+7.53", "agrees"),  # by rounding: 0.0105 of semseg, 0.024375 of normals, half of each and 0.005, so 0.027
        ("+7.54", "differs"),  # more than all roundings together: 0.0277
        ("-7.50", "differs"),
        ("+8.0", "differs"),
        ("+7.5", "agrees"),
    ],
)
def test_the_printed_delta_m_is_held_against_its_own_scores(tmp_path: Path, published: str, arithmetic: str) -> None:
    (row,) = judged(tmp_path, NEEDS, REFERENCE, ACCURACY.replace("PUBLISHED", published))
    assert row["verdict"] == "not measurable here"
    assert row["ours"] == 7.5
    assert row["arithmetic"] == arithmetic
    assert row["needs"] == "a data set"
    assert shown(row)["verdict"] == "not measurable here" + (
        "; its scores give +7.5" if arithmetic == "differs" else ""
    )


def test_a_reference_can_lie_in_another_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="relative_to = 'two': there is no such file"):
        judged(tmp_path, NEEDS, 'relative_to = "two"\n', ACCURACY.replace("PUBLISHED", "+7.50"))
    rows = judged(tmp_path, REFERENCE, STATEMENT, name="two")
    assert [row["verdict"] for row in rows] == ["not measurable here", "not verifiable"]


def test_a_claim_without_figures_says_why_it_is_not_verifiable(tmp_path: Path) -> None:
    (row,) = judged(tmp_path, STATEMENT)
    assert (row["verdict"], row["ours"], row["published"]) == ("not verifiable", None, "half the memory")
    assert shown(row)["published"] == "half the memory"
    assert quoted_lines([row]) == ["not verifiable: Ours: memory (half the memory). of what is not said"]


def test_what_measuring_needs_is_said_once_and_wrong_arithmetic_by_name(tmp_path: Path) -> None:
    good, bad = (ACCURACY.replace("PUBLISHED", p).replace("Ours:", f"{p}:") for p in ("+7.50", "+9.00"))
    lines = quoted_lines(judged(tmp_path, NEEDS, REFERENCE, good, bad))
    assert lines == [
        "not measurable here: 2 rows of scores. Needed: a data set",
        "arithmetic: +9.00: scores: printed +9.00, its scores give +7.5.",
    ]


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ([], "neither claims nor accuracy nor statements"),
        ([REFERENCE, ACCURACY.replace("PUBLISHED", "+7.50")], "accuracy goes with needs"),
        ([NEEDS, ACCURACY.replace("PUBLISHED", "+7.50")], "accuracy goes with needs"),
        ([NEEDS, REFERENCE, ACCURACY.replace("PUBLISHED", "about 7")], "accuracy.0.published"),
        (
            [NEEDS, REFERENCE.replace("normals", "depth"), ACCURACY.replace("PUBLISHED", "+7.50")],
            "not of the same tasks",
        ),
        (
            ['[[claims]]\nrow="a"\nmethod="lora"\ntable="1"\npublished="1"\nunit="M"\nprovenance="stated"\n'],
            "names its convention",
        ),
    ],
)
def test_what_is_left_open_is_refused(tmp_path: Path, parts: list[str], fault: str) -> None:
    with pytest.raises(UsageError, match=fault) as refused:
        judged(tmp_path, *parts)
    assert "one.toml" in str(refused.value)


def test_one_published_delta_m_is_not_that_of_its_scores() -> None:
    """The +2.23 of full fine-tuning belongs to Polyhistor's row; beside MTLoRA's scores it would be +2.45."""
    quoted = {name: source.model_copy(update={"claims": ()}) for name, source in read_claims(PUBLISHED).items()}
    rows = {row["row"]: row for row in judge_all(quoted)}
    accuracies = [row for row in rows.values() if row["verdict"] == "not measurable here"]
    assert len(accuracies) == 32
    differing = {row["row"]: (row["published"], row["ours"]) for row in accuracies if row["arithmetic"] == "differs"}
    assert differing == {"Multi-task full fine-tuning as repeated beside MTLoRA: scores": ("+2.23", 2.45)}
    assert rows["Multi-task full fine-tuning: scores"]["arithmetic"] == "agrees"
    assert all(row["needs"] for row in accuracies)
    others = {row["row"] for row in rows.values() if row["verdict"] == "not verifiable"}
    assert {"FAAR: parameters", "Free Sinewich, r = 64: parameters", "BDTA: gain"} <= others
    assert all(rows[name]["note"] for name in others)
    said = "\n".join(quoted_lines(list(rows.values())))
    assert "not measurable here: 29 rows of scores. Needed: PASCAL-Context" in said
    assert "not verifiable: FAAR: parameters (3.38 M)." in said
    assert "printed +2.23, its scores give +2.45" in said


def test_the_command_says_what_nobody_can_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "published").mkdir()
    rows = judged(tmp_path / "published", NEEDS, REFERENCE, ACCURACY.replace("PUBLISHED", "+9.00"), STATEMENT)
    monkeypatch.setattr("petl_bench.experiment.experiments_folder", lambda: tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["claims"])
    assert not left.value.code
    lines = capsys.readouterr().out.splitlines()
    assert len(quoted_lines(rows)) == 3
    assert lines[-3:] == quoted_lines(rows)
