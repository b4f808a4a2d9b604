"""One run of a sweep, what it needs of a machine, and its place in the store until it is done."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from petl_bench import plan, plugins
from petl_bench.config import RunConfig
from petl_bench.engine.draft import identified
from petl_bench.errors import UsageError
from petl_bench.files import appearing
from petl_bench.records.store import Store
from petl_bench.records.working import PLANNED


@dataclass(frozen=True)
class Job:
    """A run to be claimed and done.

    Attributes:
        name: Of its folder, which holds the start of its fingerprint.
        config: What is run.
        cores: Processor cores that it is given.
        gpus: Accelerators that it is given.
    """

    name: str
    config: RunConfig
    cores: int
    gpus: int


def jobs_of(
    configs: Sequence[RunConfig], *, cores: int, gpus: int, jobs: int | None = None, where: str = "this machine"
) -> tuple[Job, ...]:
    """Return the runs of a sweep, each once, with what they need.

    Cores are ``runtime.threads`` of a run, or else an equal part of the machine for each of ``jobs`` at a time, four at
    most if that is not said. A run needs an accelerator if its device is one, or ``auto`` where there is one.

    Args:
        configs: The resolved configs.
        cores: Of the machine, or of the largest of several; likewise ``gpus``.
        gpus: Accelerators of it.
        jobs: How many runs at a time were asked for.
        where: What the machine is called.

    Raises:
        UsageError: Weights or data cannot be had, or a run needs more than the machine has.
    """
    share = max(1, cores // jobs) if jobs else min(4, cores)
    found: dict[str, Job] = {}
    for config in configs:
        threads = config.runtime.threads or share
        needed = int(config.runtime.device.startswith("cuda") or (config.runtime.device == "auto" and gpus > 0))
        if threads > cores or needed > gpus:
            raise UsageError(
                f"A run of {config.method.name} needs {threads} cores and {needed} GPUs, {where} has {cores} and "
                f"{gpus}.\nType: --set runtime.threads={cores}   or: --device cpu"
            )
        runtime = config.runtime.model_copy(update={"threads": threads})
        name = identified(config).folder_name
        found.setdefault(name, Job(name, config.model_copy(update={"runtime": runtime}), threads, needed))
    return tuple(found.values())


def plan_into(store: Store, job: Job) -> None:
    """Write a run's config into its working folder, from where any process can take it.

    Raises:
        UsageError: The store cannot be written.
    """
    store.require_writable()
    with appearing(store.working(job.name) / PLANNED) as scratch:
        scratch.write_text(job.config.model_dump_json(indent=1) + "\n", encoding="utf-8")


def planned(store: Store, name: str) -> RunConfig | None:
    """Read the config of a planned run; None if there is none, as after its completion.

    Raises:
        UsageError: It is no config.
    """
    path = store.working(name) / PLANNED
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"The planned run {str(path)!r} cannot be read: {error}.") from None
    return plan.plan(settings, plugins.vocabulary)
