"""What a run is before anything was measured: its identity, and the record that it leaves if it fails."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from petl_bench.backbones.build import weights_hash
from petl_bench.config import RunConfig
from petl_bench.engine.environment import environment
from petl_bench.identity import ENGINE_VERSION, Identity, identify
from petl_bench.plugins import load
from petl_bench.records.run import RunRecord


@dataclass(frozen=True)
class Identified:
    """A config with the content that it reads.

    Attributes:
        plain: The config as a record has it.
        weights_hash: Of the initial weights.
        data_hash: Of images and labels.
        identity: The hashes of all of it.
    """

    plain: dict[str, Any]
    weights_hash: str
    data_hash: str
    identity: Identity

    @property
    def folder_name(self) -> str:
        """The name of the run's folder in a store."""
        return RunRecord.name_of(self.plain, self.identity.fingerprint)


def identified(config: RunConfig) -> Identified:
    """Identify a run.

    Raises:
        UsageError: The weights or the data cannot be had.
    """
    weights = weights_hash(config.backbone.name, config.backbone.weights, config.dataset.image_size)
    dataset = load("datasets", config.dataset.name)
    data = dataset.content_hash(config.dataset, root=config.runtime.folder, tasks=config.tasks)
    plain = config.model_dump(mode="json", exclude={"runtime"})
    identity = identify(plain, weights_hash=weights, data_hash=data, engine_version=ENGINE_VERSION)
    return Identified(plain, weights, data, identity)


def draft(run: Identified, device: torch.device) -> RunRecord:
    """Return the record of a run that has failed before it began."""
    return RunRecord(
        status="failed",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=run.plain,
        weights_hash=run.weights_hash,
        data_hash=run.data_hash,
        execution="",
        environment=environment(device, ""),
        **run.identity.model_dump(),
    )
