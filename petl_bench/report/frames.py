"""The report as pandas DataFrames, for a notebook: nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from petl_bench.experiment import experiment_path, experiments_folder, read_experiment
from petl_bench.published import read_claims
from petl_bench.report.analysis import analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.raw import runs_frame, to_frame


@dataclass(frozen=True, repr=False)
class Frames:
    """What stores of runs hold, as numbers; nothing is rounded.

    Attributes:
        runs: A line a finished run: its settings' label, parameters, seconds, every metric of every task.
        groups: By comparison group, a line a configuration: mean and standard deviation over seeds, delta_m.
        notes: By comparison group, what a reader of its table has to know.
    """

    runs: pd.DataFrame
    groups: Mapping[str, pd.DataFrame]
    notes: Mapping[str, tuple[str, ...]]

    @property
    def table(self) -> pd.DataFrame:
        """All groups in one table, the group as its index."""
        labelled = [frame.assign(group=slug).set_index("group") for slug, frame in self.groups.items()]
        return pd.concat(labelled) if labelled else pd.DataFrame()

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}\n{frame.to_string()}" for name, frame in self.groups.items())


def frames(*folders: str | Path, experiment: str = "main") -> Frames:
    """Read every run below the folders.

    Args:
        *folders: Stores (a store is a folder of run folders) or run folders.
        experiment: The experiment, shipped or a TOML file, whose ``[report]`` names the reference of delta_m.

    Raises:
        UsageError: There is no run to report, or no such experiment.
    """
    roles = read_experiment(experiment_path(experiment)).report
    runs = load([Path(folder).expanduser() for folder in folders]).runs
    published = read_claims(experiments_folder() / "published")
    analyses = {one.slug: analyse(one, roles, published) for one in comparisons(runs, roles)}
    return Frames(
        runs=runs_frame(tuple(analyses.values())),
        groups={slug: to_frame(analysis) for slug, analysis in analyses.items()},
        notes={slug: analysis.notes for slug, analysis in analyses.items()},
    )
