"""How the runs of an experiment are launched elsewhere: data of the experiment, never part of a run's identity."""

from typing import Annotated, Any, Literal

from pydantic import Field

from petl_bench.config import Positive, Section


class Launch(Section):
    """What a cluster is asked for. Cores and accelerators of a run are ``runtime.threads`` and ``runtime.device``.

    Attributes:
        retries: How often a run is begun again whose process, node or job ended before it; it goes on from its state.
        minutes: Wall time of a Slurm job.
        runs_per_job: Runs that one Slurm job does, as many at a time as its cores allow.
        executor: Of submitit: ``slurm``, or ``local`` to try a sweep on this machine.
        slurm: More parameters of ``sbatch`` as submitit names them: ``{ partition = "gpu", account = "lab" }``.
    """

    retries: Annotated[int, Field(ge=0)] = 3
    minutes: Positive = 60
    runs_per_job: Positive = 1
    executor: Literal["slurm", "local"] = "slurm"
    slurm: dict[str, Any] = {}
