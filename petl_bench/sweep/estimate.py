"""How long runs will take, from records of a store on this kind of machine."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from petl_bench.config import height_and_width
from petl_bench.records.run import Environment, RunRecord


def work_of(config: dict[str, Any]) -> float:
    """Return what the time of a training is taken to be proportional to: pixels that it reads."""
    train, dataset = config["train"], config["dataset"]
    return train["steps"] * train["batch_size"] * math.prod(height_and_width(dataset["image_size"]))


def seconds_of(config: dict[str, Any], records: Sequence[RunRecord], here: Environment) -> float | None:
    """Return the seconds that a run will take; None where no record can tell.

    By the median of the finished records on such a machine that are most like it: of the same method, backbone and
    tasks, else of the same backbone, else of any; in proportion to the pixels that training reads.

    Args:
        config: Of the run, as a record has it.
        records: What was run.
        here: Where it will run.
    """
    comparable = [record for record in records if record.status == "finished" and _is_alike(record.environment, here)]
    for keys in (("method", "backbone", "tasks"), ("method", "backbone"), ("backbone",), ()):
        alike = [
            record for record in comparable if all(_name(record.config, key) == _name(config, key) for key in keys)
        ]
        if alike:
            rates = [sum(record.seconds.model_dump().values()) / work_of(record.config) for record in alike]
            return statistics.median(rates) * work_of(config)
    return None


def _is_alike(one: Environment, other: Environment) -> bool:
    return (one.platform, one.device, one.device_name) == (other.platform, other.device, other.device_name)


def _name(config: dict[str, Any], key: str) -> Any:
    value = config.get(key)
    return value.get("name") if isinstance(value, dict) else value
