"""``scenes`` as a dataset: the target domain, rendered once into the cache and memory-mapped."""

from collections.abc import Sequence
from pathlib import Path

from petl_bench.config import DatasetConfig, Positive, in_words
from petl_bench.data.base import DATASETS, Batch, DenseDataset, Sample, Split, to_batch
from petl_bench.data.scenes import CONTENT_HASH, FURTHER, FURTHER_HASH, cached_split
from petl_bench.data.scenes.worker import RenderingError
from petl_bench.errors import UsageError


@DATASETS.register("scenes")
class Scenes(DenseDataset):
    """Procedural rooms with exact labels. Tests implementations, costs and relative effects on a synthetic transfer."""

    tasks = {
        "semseg": 13,
        "human_parts": 7,
        "saliency": 1,
        "normals": 3,
        "depth": 1,
        "edges": 1,
        "albedo": 3,
        "shading": 1,
        "shadow": 1,
        "material": 13,
        "boundary_distance": 1,
        "orientation": 5,
        "centres": 1,
        "height": 1,
        "curvature": 3,
        "layout": 5,
    }

    class Config(DatasetConfig):
        """``val_images``: rooms that rates are tuned on, never used for a reported number."""

        val_images: Positive = 200

    def __init__(
        self,
        config: DatasetConfig,
        split: Split,
        tasks: Sequence[str],
        *,
        root: Path | None = None,
        progress: bool = True,
    ) -> None:
        if root is not None:
            raise UsageError(
                f"runtime.root = {str(root)!r}: scenes are drawn, not read, so they have no folder.\n"
                "Type: petl-bench run ... without --set runtime.root"
            )
        assert isinstance(config, Scenes.Config)
        if not isinstance(config.image_size, int):
            raise UsageError(
                f"dataset.image_size = {in_words(config.image_size)}: scenes are drawn as squares.\n"
                f"Type: --set dataset.image_size={max(config.image_size)}   or take a data set in files, such as folder"
            )
        counts = {"train": config.train_images, "val": config.val_images, "test": config.test_images}
        try:
            self._arrays = cached_split(
                "target", split, counts[split], config.image_size, labels=tasks, progress=progress
            )
        except (OSError, RenderingError) as error:
            raise UsageError(str(error)) from None
        self._tasks = tuple(tasks)
        self._split = split

    @classmethod
    def content_hash(cls, config: DatasetConfig, *, root: Path | None = None, tasks: Sequence[str] = ()) -> str:
        """Return the version of the pictures and labels; digests of some of them guard that it moves when they do."""
        return FURTHER_HASH if any(task in FURTHER for task in tasks) else CONTENT_HASH

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self._arrays["image"])

    def __getitem__(self, index: int) -> Sample:
        """Return one room."""
        labels = {task: self._arrays[task][index] for task in self._tasks}
        return Sample(self._arrays["image"][index], labels, f"{self._split}/{index:06d}")

    def batch(self, indices: Sequence[int]) -> Batch:
        """Gather rooms straight from the memory-mapped arrays."""
        rows = [int(index) for index in indices]
        return to_batch(self._arrays["image"][rows], {task: self._arrays[task][rows] for task in self._tasks})
