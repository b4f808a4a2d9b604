"""The row of 2022 that papers keep as a constant: a second column on its data set and protocol, never the headline."""

from pathlib import Path

import pytest
from report_store import Case, analysed, by_label, cells, delta_of, text_of, usual

from petl_bench.errors import UsageError
from petl_bench.published import read_claims
from petl_bench.report.raw import to_frame
from petl_bench.report.tables import main_table, narrow_table

COLUMN = "delta_m to Liu et al., 2022 (Polyhistor) (%) ↑"
PASCAL = {"dataset": "pascal-context", "protocol": "mtl"}
MTLORA_64 = {"semseg": 67.90, "human_parts": 59.84, "saliency": 65.40, "normals": 16.60}


def on_pascal() -> list[Case]:
    return [*usual("single", 0.0, **PASCAL), *(Case("mtlora", MTLORA_64, seed=seed, **PASCAL) for seed in range(3))]


def test_the_printed_scores_give_the_printed_delta_m_and_the_headline_stays_ours(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, on_pascal())
    rows = cells(main_table(analysis))
    assert rows["mtlora"][COLUMN] == "+2.54 ± 0.00"  # +2.55 as printed, of scores with more digits
    ours = (17.90 / 50 + 19.84 / 40 + 5.40 / 60 + 3.40 / 20) / 4
    assert delta_of(analysis, "mtlora") == pytest.approx(100 * ours)
    reference = (50 / 67.21 - 1 + 40 / 61.93 - 1 + 60 / 62.35 - 1 + 1 - 20 / 17.97) / 4
    assert rows["single"][COLUMN].startswith(f"{100 * reference:.2f} ± ")
    assert by_label(analysis)["single"].delta_m.mean == pytest.approx(0, abs=1e-9)
    trivial = analysis.legacy[0].values["trivial predictor"]
    assert trivial.mean < -50
    raw = to_frame(analysis).set_index("label")
    assert raw.loc["mtlora", "delta_m to Liu et al., 2022 (Polyhistor).mean"] == pytest.approx(2.54, abs=0.005)
    assert COLUMN not in narrow_table(analysis).columns
    names = list(main_table(analysis).columns)
    assert names.index("delta_m (%) ↑") < names.index(COLUMN)


def test_the_page_says_whose_row_it_is_and_why_it_is_no_reference(tmp_path: Path) -> None:
    text = text_of(tmp_path, on_pascal())
    (note,) = (line for line in text.splitlines() if "which is no reference" in line)
    assert "semseg 67.21, human_parts 61.93, saliency 62.35, normals 17.97" in note
    assert "another decoder and schedule" in note


@pytest.mark.parametrize("place", [{}, {"dataset": "pascal-context", "protocol": "ours"}, PASCAL | {"dataset": "nyud"}])
def test_other_data_and_protocols_have_no_such_column(place: dict[str, str], tmp_path: Path) -> None:
    analysis = analysed(tmp_path, usual("single", 0.0, **place))
    assert analysis.legacy == ()
    assert COLUMN not in main_table(analysis).columns


def test_metrics_of_other_tasks_than_the_printed_scores_are_refused(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "experiments" / "published" / "nyud_table.toml"
    text = shipped.read_text(encoding="utf-8").replace('depth = "rmse", ', "")
    (tmp_path / "one.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="not of the same tasks"):
        read_claims(tmp_path)
