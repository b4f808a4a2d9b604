"""Tables as numbers, for CSV: means, standard deviations and intervals over seeds apart, nothing rounded."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from petl_bench.report.aggregate import Column, Row
from petl_bench.report.analysis import Analysis
from petl_bench.report.flat import slopes_of
from petl_bench.report.gains import delta_of_run
from petl_bench.report.legacy import LegacyColumn
from petl_bench.report.load import Run
from petl_bench.report.over_seeds import OverSeeds
from petl_bench.report.stats import Estimate


def to_frame(analysis: Analysis) -> pd.DataFrame:
    """Return one line per configuration that has numbers, mean and standard deviation apart."""
    tasks = len(analysis.comparison.runs[0].tasks)
    return pd.DataFrame(
        _raw(row, analysis.columns, tasks)
        | {name: value for column in analysis.legacy for name, value in _legacy(column, row).items()}
        for row in analysis.rows
        if not row.missing
    )


def runs_frame(analyses: Sequence[Analysis]) -> pd.DataFrame:
    """Return one line per run with every value of every metric."""
    lines = [_raw_run(run, row, analysis) for analysis in analyses for row in analysis.rows for run in row.runs]
    return pd.DataFrame(lines)


def seeds_frame(compared: OverSeeds) -> pd.DataFrame:
    """Return one line per two rows of the comparison over seeds."""
    lines = [
        {
            "first": pair.first,
            "second": pair.second,
            "seeds": " ".join(map(str, pair.seeds)),
            "delta_m.difference": pair.difference,
            "interval.low": pair.interval[0],
            "interval.high": pair.interval[1],
            "p_value": pair.p_value,
            "p_value.holm": pair.p_holm,
            "p_first_better": pair.better[0],
            "p_first_better.low": pair.better[1],
            "p_first_better.high": pair.better[2],
            "first.tier": compared.tiers.get(pair.first),
            "second.tier": compared.tiers.get(pair.second),
        }
        for pair in compared.pairs
    ]
    return pd.DataFrame(lines)


def pictures_frame(analysis: Analysis) -> pd.DataFrame:
    """Return one line per row and task of the comparison with the reference over pictures."""
    lines = [
        {
            "label": line.label,
            "task": line.column.name,
            "unit": line.column.unit,
            "seeds": " ".join(map(str, line.seeds)),
            "pictures": line.test.n,
            "better_by": line.test.difference,
            "interval.low": line.test.low,
            "interval.high": line.test.high,
            "p_value": line.test.p_value,
        }
        for line in analysis.pictures
    ]
    return pd.DataFrame(lines)


def _raw(row: Row, columns: Sequence[Column], tasks: int) -> dict[str, Any]:
    run = row.runs[0] if row.runs else None
    percent = row.percent_of_backbone
    raw: dict[str, Any] = {
        "label": row.label,
        "kind": row.kind,
        "method": row.method,
        "settings": json.dumps(run.record.config["method"], sort_keys=True) if run else "",
        "weights": row.weights,
        "group": run.record.group if run else "",
        "seeds": " ".join(map(str, row.seeds)),
        "seeds.n": len(row.seeds),
        **_ledger(row),
        "percent_of_one_backbone": percent,
        "percent_of_all_backbones": percent / tasks,
    }
    for task, slope in slopes_of(row).items():
        raw |= {f"{task}.end_slope": slope.percent, f"{task}.end_slope.error": slope.error}
    for column in columns:
        raw |= {f"{column.name}.convention": column.convention, f"{column.name}.unit": column.unit}
        raw |= _raw_estimate(f"{column.name}.{column.metric}", row.scores.get(column.name))
    raw |= _raw_estimate("delta_m", row.delta_m)
    raw["delta_m.reference_error"] = row.reference_error
    raw |= _raw_estimate("floor_corrected_gain", row.gain)
    return raw | _raw_estimate("train_seconds", row.train_seconds)


def _legacy(column: LegacyColumn, row: Row) -> dict[str, float | None]:
    return _raw_estimate(column.name, column.values.get(row.label))


def _ledger(row: Row) -> dict[str, int | None]:
    """Return trained parameters by where they are: the method's are added, the trunk's own, or a generator's."""
    held = row.parameters
    return {
        "method_parameters": held.method if held else None,
        "added_parameters": held.added if held else None,
        "trunk_parameters": held.trunk if held else None,
        "generator_parameters": held.generator if held else None,
        "active_parameters": held.active if held else None,
        "effective_parameters": held.effective if held else None,
        "decoder_parameters": held.decoder if held else None,
        "backbone_parameters": held.backbone if held else None,
    }


def _raw_estimate(name: str, value: Estimate | None) -> dict[str, float | None]:
    low, high = value.interval if value else (None, None)
    return {
        f"{name}.mean": value.mean if value else None,
        f"{name}.sd": value.sd if value else None,
        f"{name}.seeds_low": low,
        f"{name}.seeds_high": high,
    }


def _raw_run(run: Run, row: Row, analysis: Analysis) -> dict[str, Any]:
    record = run.record
    raw: dict[str, Any] = {
        "comparison": analysis.comparison.slug,
        "label": row.label,
        "kind": row.kind,
        "method": run.method,
        "weights": run.settings["backbone.weights"],
        "weights_hash": run.weights,
        "seed": run.seed,
        "fingerprint": record.fingerprint,
        "execution": record.execution,
        "delta_m": delta_of_run(run, analysis.base),
        "images_per_second": record.images_per_second,
        **{f"seconds.{part}": value for part, value in record.seconds.model_dump().items()},
    }
    if record.parameters is not None:
        raw |= {f"parameters.{owner}": number for owner, number in record.parameters.model_dump().items()}
    for task, result in record.metrics.items():
        for name, metric in result.metrics.items():
            raw[f"{task}.{name}.convention"] = metric.convention
            raw |= {f"{task}.{name}": metric.value, f"{task}.trivial.{name}": metric.trivial}
    return raw
