"""nyud: NYU-Depth v2 in the four packagings that go by its name, told apart by what lies there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from petl_bench.data import readers
from petl_bench.data.base import DATASETS, DataTask, Split
from petl_bench.data.folder import read_image, unit_normals
from petl_bench.data.layout import IGNORED, Layout, Source, by_id
from petl_bench.data.libmtl import numbered, positive, read_positive, read_signed_classes
from petl_bench.data.on_disk import FileDataset, require_root
from petl_bench.data.protocols import PROTOCOLS
from petl_bench.errors import UsageError

FOLDERS = {"semseg": "segmentation", "normals": "normals", "depth": "depth", "edges": "edge"}


@dataclass(frozen=True)
class Packaging:
    """A way in which the data set is passed on.

    Attributes:
        suffixes: Of the files of ``images`` and of every task.
        classes: Of ``semseg``.
    """

    images: str
    suffixes: Mapping[str, str]
    classes: int


PACKAGINGS = {
    "A (ASTMT)": Packaging(".jpg", {"semseg": ".mat", "normals": ".jpg", "depth": ".mat", "edges": ".png"}, 41),
    "B (Multi-Task-Learning-PyTorch, MTLoRA)": Packaging(
        ".jpg", {"semseg": ".png", "normals": ".npy", "depth": ".npy", "edges": ".npy"}, 40
    ),
    "C (InvPT)": Packaging(".png", {"semseg": ".png", "normals": ".png", "depth": ".npy", "edges": ".png"}, 40),
}
LIBMTL = "D (LibMTL)"


@DATASETS.register("nyud")
class NYUD(FileDataset):
    """Rooms with the classes of NYU-40 (or 13, or 41: as packaged), depth, normals and edges."""

    tasks = {"semseg": 40, "depth": 1, "normals": 3, "edges": 1}
    known_counts = {"train": 795, "test": 654}
    protocols = {"mtl": replace(PROTOCOLS["mtl"], degrees=0.0, scale_choices=(1.0, 1.2, 1.5))}
    guide = """
NYU-Depth v2 (Silberman et al., 2012). Licence: for research; pictures may not be passed on. Four packagings go by this
name; which one it is follows from the files, is said aloud and is part of the digest. A mixture is refused.

    A  ASTMT              images/*.jpg, segmentation/*.mat (41 classes, 0 is one), normals/*.jpg, depth/*.mat,
                          edge/*.png
    B  Multi-Task-Learning-PyTorch, MTLoRA (NYUD_MT.tgz)
                          images/*.jpg, segmentation/*.png (0 is no truth, then minus 1: 40), normals/*.npy,
                          depth/*.npy in metres, edge/*.npy
    C  InvPT, TaskPrompter, MLoRE, MTMamba (NYUDv2.tar.gz)
                          images/*.png, segmentation/*.png, normals/*.png, depth/*.npy, edge/*.png
    D  LibMTL, MTAN       {train,val}/{image,label,depth,normal}/N.npy, 288 x 384, 13 classes
    A to C                gt_sets/train.txt (795) and val.txt (654); val is what the literature tests on

Traps: pictures are 480 x 640 in B and 425 x 560 elsewhere in the literature. Normals of B are floats, of C bytes. D has
white borders cropped away, no edges, and other classes: it never shares a table with the others. In all of them depth 0
and normals of length 0 are no truth. Only the folders of the tasks that are run are needed.
"""

    @classmethod
    def tasks_in(cls, root: Path | None) -> Mapping[str, DataTask]:
        """Return the tasks of the packaging that lies there; of B and C without a folder."""
        tasks = {**super().tasks_in(root), "edges": DataTask("boundaries_nyud", 1)}
        if root is None:
            return tasks
        packaging = packaging_of(require_root(cls.name, root))
        if packaging == LIBMTL:
            del tasks["edges"]
        classes = 13 if packaging == LIBMTL else PACKAGINGS[packaging].classes
        return {**tasks, "semseg": DataTask("semseg", classes)}

    @classmethod
    def look(cls, root: Path | None) -> Layout:
        """Return what lies in a folder of any of the packagings."""
        folder = require_root(cls.name, root)
        packaging = packaging_of(folder)
        tasks = cls.tasks_in(root)
        if packaging != LIBMTL:
            return _listed(folder, packaging, tasks)
        inner = {
            "semseg": ("label", read_signed_classes),
            "depth": ("depth", read_positive),
            "normals": ("normal", read_normals_npy),
        }
        return numbered(folder, packaging, tasks, inner)


def packaging_of(root: Path) -> str:
    """Say which packaging lies in a folder.

    Raises:
        UsageError: None, or a mixture.
    """
    if (root / "train" / "image").is_dir():
        return LIBMTL
    there = {
        name: {path.suffix.lower() for path in (root / name).iterdir() if not path.name.startswith(".")}
        for name in ("images", *FOLDERS.values())
        if (root / name).is_dir()
    }
    mixed = [name for name, suffixes in there.items() if len(suffixes) > 1]
    if mixed:
        kinds = ", ".join(sorted(there[mixed[0]]))
        raise UsageError(
            f"{str(root / mixed[0])!r} holds files of several kinds ({kinds}): packagings of NYUD were mixed. Unpack "
            "one of them into an empty folder.\nType: petl-bench data guide nyud"
        )
    seen = {name: suffix for name, suffixes in there.items() for suffix in suffixes}
    fitting = [name for name, one in PACKAGINGS.items() if _fits(one, seen)]
    if "images" not in seen or len(fitting) > 1:
        fitting = []
    if not fitting:
        told = ", ".join(f"{name}/*{suffix}" for name, suffix in seen.items()) or "none of the known folders"
        raise UsageError(
            f"{str(root)!r} is no known packaging of NYUD, or a mixture: {told}.\nType: petl-bench data guide nyud"
        )
    return fitting[0]


def _fits(packaging: Packaging, seen: Mapping[str, str]) -> bool:
    expected = {"images": packaging.images} | {FOLDERS[task]: suffix for task, suffix in packaging.suffixes.items()}
    return all(expected[name] == suffix for name, suffix in seen.items())


def _listed(root: Path, packaging: str, tasks: Mapping[str, DataTask]) -> Layout:
    one = PACKAGINGS[packaging]
    splits: dict[Split, tuple[str, ...]] = {
        "train": readers.read_ids(root / "gt_sets" / "train.txt"),
        "test": readers.read_ids(root / "gt_sets" / "val.txt"),
    }
    images = readers.files_in(root / "images", [one.images])
    return Layout(
        packaging=packaging,
        splits=splits,
        images=Source("image", 3, by_id(images), read_image),
        labels={
            name: Source(
                task.kind,
                task.channels,
                by_id(readers.files_in(root / FOLDERS[name], [one.suffixes[name]])),
                READERS[name, one.suffixes[name]],
                "nearest",
            )
            for name, task in tasks.items()
        },
    )


def read_classes_from_zero(files: Sequence[Path]) -> np.ndarray:
    """Read 41 classes of a MATLAB file; 0 is one of them."""
    return np.asarray(readers.read_mat(files[0], "segmentation")).astype(np.uint8)


def read_classes_from_one(files: Sequence[Path]) -> np.ndarray:
    """Read 40 classes of a PNG that holds 1 to 40; 0, and 255 if there is any, is no truth."""
    raw = readers.read_png(files[0]).astype(np.int64)
    return np.where((raw == 0) | (raw == IGNORED), IGNORED, raw - 1).astype(np.uint8)


def read_normals_of_bytes(files: Sequence[Path]) -> np.ndarray:
    """Read normals of a picture: n = 2 v / 255 - 1; what lies closer to 0 than to a direction is no truth."""
    vectors = 2 * readers.read_rgb(files[0]).astype(np.float32) / 255 - 1
    return _turned(vectors, np.sqrt((vectors**2).sum(-1)) < 0.5)


def read_normals_npy(files: Sequence[Path]) -> np.ndarray:
    """Read normals [H, W, 3] of floats."""
    vectors = readers.read_npy(files[0]).astype(np.float32)
    return _turned(vectors, ~np.all(np.isfinite(vectors), axis=-1))


def read_depth_mat(files: Sequence[Path]) -> np.ndarray:
    """Read metres of a MATLAB file."""
    return positive(readers.read_mat(files[0], "depth"))


def read_edges_png(files: Sequence[Path]) -> np.ndarray:
    """Read edges of a picture: 255 is one."""
    return (readers.read_png(files[0]) > 127).astype(np.uint8)


def read_edges_npy(files: Sequence[Path]) -> np.ndarray:
    """Read edges of numbers from 0 to 1, [H, W] or [H, W, 1]."""
    raw = readers.read_npy(files[0])
    return ((raw[..., 0] if raw.ndim == 3 else raw) > 0.5).astype(np.uint8)


def _turned(vectors: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Make unit vectors; y points down in these files, as in those of PASCAL-Context."""
    return unit_normals(vectors * np.array([1, -1, 1], dtype=np.float32), missing)


READERS: dict[tuple[str, str], Callable[[Sequence[Path]], np.ndarray]] = {
    ("semseg", ".mat"): read_classes_from_zero,
    ("semseg", ".png"): read_classes_from_one,
    ("normals", ".jpg"): read_normals_of_bytes,
    ("normals", ".png"): read_normals_of_bytes,
    ("normals", ".npy"): read_normals_npy,
    ("depth", ".mat"): read_depth_mat,
    ("depth", ".npy"): read_positive,
    ("edges", ".png"): read_edges_png,
    ("edges", ".npy"): read_edges_npy,
}
