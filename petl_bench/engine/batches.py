"""Training batches: which images, in which order, mirrored or not. Each is a function of (seed, position) alone.

So the numbers of a run depend neither on the number of processes that load, nor on where a training was resumed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from petl_bench import draws
from petl_bench.config import RunConfig
from petl_bench.data.base import Batch, DenseDataset
from petl_bench.errors import UsageError

PREFETCH = 2  # batches that every loading process keeps ready


@dataclass(frozen=True)
class Drawn:
    """One image of a batch: its number in the split, and how often the split was gone through before."""

    index: int
    epoch: int


class Order(Sampler[tuple[Drawn, ...]]):
    """Fresh permutations of a split end to end, cut into batches; the last one of an epoch goes on into the next.

    Args:
        images: Number of images of the split.
        config: Its seed, batch size and steps.
        start: Steps that lie behind.
        rank: Of this process, which takes every ``world``-th image of a batch.
        world: Number of processes.
    """

    def __init__(self, images: int, config: RunConfig, *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        self._images, self._config, self._start, self._rank, self._world = images, config, start, rank, world

    def __len__(self) -> int:
        return self._config.train.steps - self._start

    def __iter__(self) -> Iterator[tuple[Drawn, ...]]:
        size, epoch, order = self._config.train.batch_size, -1, list[int]()
        for step in range(self._start, self._config.train.steps):
            batch: list[Drawn] = []
            for position in range(step * size, (step + 1) * size):
                if position // self._images != epoch:
                    epoch = position // self._images
                    generator = draws.generator(self._config.seed, "order", str(epoch))
                    order = torch.randperm(self._images, generator=generator).tolist()
                batch.append(Drawn(order[position % self._images], epoch))
            yield tuple(batch[self._rank :: self._world])


class Augmented(Dataset[Batch | UsageError]):
    """Whole batches by what was drawn, augmented by a key of (seed, image, epoch)."""

    def __init__(self, dataset: DenseDataset, config: RunConfig) -> None:
        self._dataset, self._seed, self._config = dataset, config.seed, config.dataset

    def __getitem__(self, drawn: tuple[Drawn, ...]) -> Batch | UsageError:
        """Return the images of a batch with their labels; or what is wrong with them, which a process would wrap."""
        keys = [draws.key(self._seed, "flip", str(one.index), str(one.epoch)) for one in drawn]
        try:
            return self._dataset.augmented([one.index for one in drawn], keys, self._config)
        except UsageError as error:
            return error


def batches(
    dataset: DenseDataset, config: RunConfig, *, start: int = 0, rank: int = 0, world: int = 1, pin: bool = False
) -> Iterator[Batch]:
    """Yield the training batches of a run, from step ``start`` on.

    They depend on the seed, the number of images and the batch size alone, so every method and every T sees the same
    ones. ``pin`` puts them into pinned memory, for an accelerator.

    Raises:
        UsageError: A file of the data set cannot be read, or is not what it should be.
    """
    workers = config.runtime.workers
    order = Order(len(dataset), config, start=start, rank=rank, world=world)
    loader: DataLoader[Batch | UsageError] = DataLoader(
        Augmented(dataset, config),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=PREFETCH if workers else None,
    )
    for batch in loader:
        if isinstance(batch, UsageError):
            raise batch
        yield batch
