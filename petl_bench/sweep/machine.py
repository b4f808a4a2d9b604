"""What a machine has to give to runs."""

import os
from dataclasses import dataclass, field

import torch


def cores_here() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_here() -> int:
    """Return how many CUDA devices there are, without touching them."""
    return torch.cuda.device_count()


@dataclass
class Budget:
    """What is free of a machine.

    Attributes:
        cores: How many processor cores.
        gpus: Which CUDA devices, by their numbers.
        places: How many more runs there may be.
    """

    cores: int
    gpus: list[int]
    places: int
    _lent: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def take(self, name: str, cores: int, gpus: int) -> list[int] | None:
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
