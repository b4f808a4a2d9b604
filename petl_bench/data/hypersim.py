"""hypersim: photorealistic rooms with exact labels, read from one HDF5 file a frame and kind."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from petl_bench.data import readers
from petl_bench.data.base import DATASETS, Split
from petl_bench.data.folder import read_image, unit_normals
from petl_bench.data.layout import IGNORED, Layout, Source
from petl_bench.data.on_disk import FileDataset, require_root
from petl_bench.errors import UsageError

SPLIT_FILE = "metadata_images_split_scene_v1.csv"
COLUMNS = ("scene_name", "camera_name", "frame_id", "included_in_public_release", "split_partition_name")
FIELD_OF_VIEW_DEGREES = 60.0  # horizontal, of every camera
KEY = "dataset"


@DATASETS.register("hypersim")
class Hypersim(FileDataset):
    """Rendered rooms with the 40 classes of NYU, depth, normals and albedo. Licence: CC BY-SA 3.0."""

    tasks = {"semseg": 40, "depth": 1, "normals": 3, "albedo": 3}
    known_counts = {}
    guide = """
Hypersim (Roberts et al., 2021, https://arxiv.org/abs/2011.02523): 74,619 images of 461 scenes, 1.9 TB; a part will do.
Licence: CC BY-SA 3.0. Downloader of single files: contrib/99991 of apple/ml-hypersim.

    metadata_images_split_scene_v1.csv        scene_name, camera_name, frame_id, included_in_public_release,
                                              split_partition_name
    ai_VVV_NNN/images/
        scene_CAMERA_final_preview/frame.IIII.tonemap.jpg       the picture
        scene_CAMERA_geometry_hdf5/frame.IIII.semantic.hdf5     1 to 40, -1 no truth
        scene_CAMERA_geometry_hdf5/frame.IIII.depth_meters.hdf5
        scene_CAMERA_geometry_hdf5/frame.IIII.normal_cam.hdf5
        scene_CAMERA_final_hdf5/frame.IIII.diffuse_reflectance.hdf5

Images whose picture is not there are left out, so that a part of the data set is a data set; train and test are its
own partitions. Trap: depth_meters is the length of the ray, not the distance to the plane of the camera; here it is
converted. Every array lies under the name "dataset".
"""

    @classmethod
    def look(cls, root: Path | None) -> Layout:
        """Return the frames that lie in a folder, by the partitions of the data set."""
        folder = require_root(cls.name, root)
        pictures: dict[str, tuple[Path, ...]] = {}
        labels: dict[str, dict[str, tuple[Path, ...]]] = {task: {} for task in cls.tasks}
        listed: dict[Split, list[str]] = {"train": [], "test": []}
        partition: Split
        for name, partition, camera, frame in _frames(folder / SPLIT_FILE):
            scene = folder / name.split("/")[0] / "images"
            picture = scene / f"scene_{camera}_final_preview" / f"frame.{frame}.tonemap.jpg"
            if not picture.is_file():
                continue
            pictures[name] = (picture,)
            listed[partition].append(name)
            for task, (place, kind) in PLACES.items():
                path = scene / f"scene_{camera}_{place}_hdf5" / f"frame.{frame}.{kind}.hdf5"
                if path.is_file():
                    labels[task][name] = (path,)
        splits: dict[Split, tuple[str, ...]] = {split: tuple(names) for split, names in listed.items()}
        if not all(splits.values()):
            raise UsageError(
                f"{str(folder)!r} has {len(splits['train'])} pictures of train and {len(splits['test'])} of test: some "
                "of both are needed.\nType: petl-bench data guide hypersim"
            )
        return Layout(
            packaging="",
            splits=splits,
            images=Source("image", 3, pictures, read_image),
            labels={
                name: Source(task.kind, task.channels, labels[name], READERS[name])
                for name, task in cls.tasks_in(root).items()
            },
        )


PLACES = {
    "semseg": ("geometry", "semantic"),
    "depth": ("geometry", "depth_meters"),
    "normals": ("geometry", "normal_cam"),
    "albedo": ("final", "diffuse_reflectance"),
}


def _frames(path: Path) -> list[tuple[str, Split, str, str]]:
    """Return name, split, camera and number of every released frame of ``train`` and ``test``."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(
            f"The list {str(path)!r} cannot be read: {error.strerror}.\nType: petl-bench data guide hypersim"
        ) from None
    missing = [column for column in COLUMNS if rows and column not in rows[0]]
    if missing or not rows:
        raise UsageError(
            f"{str(path)!r} has no column {', '.join(missing) or 'at all'}; {', '.join(COLUMNS)} are needed."
        )
    known: Mapping[str, Split] = {"train": "train", "test": "test"}
    return [
        (
            f"{row['scene_name']}/{row['camera_name']}/{int(row['frame_id']):04d}",
            known[row["split_partition_name"]],
            row["camera_name"],
            f"{int(row['frame_id']):04d}",
        )
        for row in rows
        if row["split_partition_name"] in known and row["included_in_public_release"].strip().lower() == "true"
    ]


def read_classes(files: Sequence[Path]) -> np.ndarray:
    """Read 40 classes, 1 to 40 in the file; -1 is no truth."""
    raw = readers.read_hdf5(files[0], KEY).astype(np.int64)
    return np.where((raw >= 1) & (raw <= 40), raw - 1, IGNORED).astype(np.uint8)


def read_depth(files: Sequence[Path]) -> np.ndarray:
    """Read metres from the plane of the camera, where the file has lengths of rays."""
    ray = readers.read_hdf5(files[0], KEY).astype(np.float64)
    height, width = ray.shape
    focal = width / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW_DEGREES / 2))  # in pixels
    across = (np.arange(width) + 0.5 - width / 2) / focal
    down = (np.arange(height) + 0.5 - height / 2) / focal
    metres = ray / np.sqrt(1 + across[None] ** 2 + down[:, None] ** 2)
    return np.where(np.isfinite(metres) & (metres > 0), metres, 0).astype(np.float32)


def read_normals(files: Sequence[Path]) -> np.ndarray:
    """Read normals in camera coordinates: x right, y up, z towards the camera, as here."""
    vectors = readers.read_hdf5(files[0], KEY).astype(np.float32)
    return unit_normals(vectors, ~np.all(np.isfinite(vectors), axis=-1))


def read_albedo(files: Sequence[Path]) -> np.ndarray:
    """Read reflectance [H, W, 3], cut to 0 to 1; what is not finite is no truth."""
    raw = readers.read_hdf5(files[0], KEY).astype(np.float32)
    return np.where(np.all(np.isfinite(raw), axis=-1, keepdims=True), raw.clip(0, 1), np.float32(0))


READERS: dict[str, Callable[[Sequence[Path]], np.ndarray]] = {
    "semseg": read_classes,
    "depth": read_depth,
    "normals": read_normals,
    "albedo": read_albedo,
}
