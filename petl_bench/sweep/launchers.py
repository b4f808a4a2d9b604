"""Where runs are executed: this machine, a Ray cluster, or Slurm. All of them claim and run fingerprints."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from petl_bench.config import RunConfig
from petl_bench.errors import UsageError
from petl_bench.launch import Launch
from petl_bench.records.store import Store
from petl_bench.sweep.job import Job, jobs_of
from petl_bench.sweep.local import Local
from petl_bench.sweep.machine import Budget, cores_here, gpus_here
from petl_bench.sweep.ray import connect, largest_node, run_on_ray
from petl_bench.sweep.show import Show
from petl_bench.sweep.slurm import submit

SLURM_CORES = 4  # of a run that does not say how many
ENOUGH = 1_000_000  # cores or accelerators of a cluster whose machines Slurm knows, and we do not


class Launcher(ABC):
    """A place where runs are executed.

    Args:
        launch: What the experiment says of it.
        at_once: So many at a time at most.
    """

    def __init__(self, launch: Launch, at_once: int | None) -> None:
        self.launch, self.at_once = launch, at_once

    @abstractmethod
    def jobs(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs with what they are given."""

    def preview(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs as far as they are known before anything is connected to."""
        return self.jobs(configs)

    @abstractmethod
    def run(self, store: Store, jobs: Sequence[Job], show: Show) -> dict[str, bool] | None:
        """Do the planned runs and return whether each is finished; None if they are left to others."""


class LocalLauncher(Launcher):
    """Processes of this machine."""

    def jobs(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs with what they are given."""
        return jobs_of(configs, cores=cores_here(), gpus=len(gpus_here()), jobs=self.at_once)

    def run(self, store: Store, jobs: Sequence[Job], show: Show) -> dict[str, bool] | None:
        """Do the planned runs."""
        budget = Budget(cores_here(), gpus_here(), self.at_once or ENOUGH)
        return Local(store, jobs, budget, show).run()


class RayLauncher(Launcher):
    """Tasks of a Ray cluster."""

    @cached_property
    def _ray(self) -> Any:
        return connect(cores_here(), self.launch.retries)

    def preview(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs with what they ask for; which of it a node has, the cluster says."""
        asked = any(config.runtime.device.startswith("cuda") for config in configs)
        return jobs_of(configs, cores=ENOUGH, gpus=ENOUGH if asked else len(gpus_here()))

    def jobs(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs with what they are given."""
        cores, gpus = largest_node(self._ray)
        return jobs_of(configs, cores=cores, gpus=gpus, where="the largest node")

    def run(self, store: Store, jobs: Sequence[Job], show: Show) -> dict[str, bool] | None:
        """Do the planned runs."""
        return run_on_ray(self._ray, store, jobs, show, at_once=self.at_once, retries=self.launch.retries)


class SlurmLauncher(Launcher):
    """Jobs of Slurm's, which go on when this process ends."""

    def jobs(self, configs: Sequence[RunConfig]) -> tuple[Job, ...]:
        """Return the runs with what they are given."""
        if any(config.runtime.device == "auto" for config in configs):
            raise UsageError(
                "--launcher slurm: whether a run needs a GPU must be said before it is queued.\n"
                "Type: --device cuda   or: --device cpu"
            )
        cores = [config.runtime.threads or SLURM_CORES for config in configs]
        chosen = [
            config.model_copy(update={"runtime": config.runtime.model_copy(update={"threads": number})})
            for config, number in zip(configs, cores, strict=True)
        ]
        return jobs_of(chosen, cores=ENOUGH, gpus=ENOUGH)

    def run(self, store: Store, jobs: Sequence[Job], show: Show) -> dict[str, bool] | None:
        """Submit the planned runs."""
        identifiers = submit(store, jobs, self.launch, at_once=self.at_once)
        print(f"{len(jobs)} runs in {len(identifiers)} jobs: {', '.join(identifiers)}")


LAUNCHERS: dict[str, type[Launcher]] = {"local": LocalLauncher, "ray": RayLauncher, "slurm": SlurmLauncher}
