"""Random numbers keyed by name, so that neither order nor number of tasks can change what another one draws."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager

import torch


def key(seed: int, *names: str) -> int:
    """Hash a seed and names into 63 bits."""
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str) -> torch.Generator:
    """Return a CPU generator that belongs to these names alone."""
    return torch.Generator().manual_seed(key(seed, *names))


@contextmanager
def seeded(seed: int, *names: str) -> Generator[None, None, None]:
    """Run a block whose draws from torch's global CPU generator belong to these names; restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, *names))
        yield
