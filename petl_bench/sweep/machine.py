"""What a machine has to give to runs."""

import os
from dataclasses import dataclass, field

import torch


def cores_here() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_here() -> list[str]:
    """Return the CUDA devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass
class Budget:
    """What is free of a machine.

    Attributes:
        cores: How many processor cores.
        gpus: Which CUDA devices, as ``CUDA_VISIBLE_DEVICES`` names them.
        places: How many more runs there may be.
    """

    cores: int
    gpus: list[str]
    places: int
    _lent: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def take(self, name: str, cores: int, gpus: int) -> list[str] | None:
        """Lend what a run needs and return its CUDA devices; None if it is not there."""
        if self.places < 1 or cores > self.cores or gpus > len(self.gpus):
            return None
        lent, self.gpus = self.gpus[:gpus], self.gpus[gpus:]
        self.cores -= cores
        self.places -= 1
        self._lent[name] = (cores, lent)
        return lent

    def give_back(self, name: str) -> None:
        """Take back what a run had."""
        cores, gpus = self._lent.pop(name)
        self.cores += cores
        self.gpus = sorted([*self.gpus, *gpus])
        self.places += 1
