"""pascal-context: PASCAL-Context for five tasks, in the packaging PASCAL_MT that the multi-task literature shares."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from petl_bench.data import readers
from petl_bench.data.base import DATASETS, DataTask, Split
from petl_bench.data.folder import read_image, unit_normals
from petl_bench.data.layout import IGNORED, Layout, Source, by_id
from petl_bench.data.on_disk import FileDataset, require_root
from petl_bench.errors import UsageError
from petl_bench.thinning import thin

PERSON = 15
PARTS = {
    1: ("head", "hair", "leye", "reye", "lear", "rear", "lebrow", "rebrow", "nose", "mouth"),
    2: ("neck", "torso"),
    3: ("luarm", "ruarm"),
    4: ("llarm", "rlarm", "lhand", "rhand"),
    5: ("luleg", "ruleg"),
    6: ("llleg", "rlleg", "lfoot", "rfoot"),
}
GROUP_OF = {name: group for group, names in PARTS.items() for name in names}

# Numbers, among the 459 of PASCAL-Context, of the classes whose name is also one of the 894 of NYU-v2 ("unknown"
# apart), and of tvmonitor: where normals distilled from a network for rooms are taken for true.
SHARED_WITH_NYU = (
    *(3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53, 55, 56),
    *(59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115, 122),
    *(124, 135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191, 193, 195, 197, 199),
    *(202, 213, 215, 216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260),
    *(261, 263, 269, 272, 273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310),
    *(314, 315, 319, 323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380),
    *(383, 384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441),
    *(442, 443, 444, 446, 454, 457),
)


@DATASETS.register("pascal-context")
class PascalContext(FileDataset):
    """Everyday pictures with the 21 classes of PASCAL VOC, people's parts, saliency, normals and edges.

    Saliency and normals are pseudo-labels, distilled from networks: say so beside any claim.
    """

    tasks = {"semseg": 21, "human_parts": 7, "saliency": 1, "normals": 3, "edges": 1}
    known_counts = {"train": 4998, "test": 5105}
    guide = """
PASCAL-Context for five tasks, packaging PASCAL_MT of Maninis et al., 2019 (https://arxiv.org/abs/1904.08918).
From: PASCAL_MT.tgz at data.vision.ee.ethz.ch/kmaninis/share/MTL/, or PASCALContext.tar.gz linked by the README of
prismformore/Multi-Task-Transformer. No checksum is published; `petl-bench data check` prints a digest to compare.
Licence: pictures are under the terms of Flickr, annotations for research; neither may be passed on.

    ImageSets/Context/train.txt, val.txt      4,998 and 5,105 names; val is what the literature tests on
    JPEGImages/NAME.jpg
    semseg/VOC12/NAME.png, else semseg/pascal-context/NAME.png      classes 0 to 20, 255 no truth
    human_parts/NAME.mat                      objects with masks and parts
    sal_distill/NAME.png                      salient where v / 255 > 0.5; a pseudo-label
    normals_distill/NAME.png                  n = 2 v / 255 - 1; a pseudo-label
    pascal-context/trainval/NAME.mat          LabelMap, 459 classes: needed for edges and for normals

Traps: semseg has the 21 classes of VOC, not the 59 of mmsegmentation's set of that name. One copy in circulation has
neither normals nor saliency. A picture without people's parts has no truth for human_parts; it stays in the list, so
that every set of tasks sees the same pictures. ImageSets/Parts, which other code writes, is not read.
Only the folders of the tasks that are run are needed.
"""

    @classmethod
    def tasks_in(cls, root: Path | None) -> Mapping[str, DataTask]:
        """Return the five tasks; edges are scored with the tolerance of this data set."""
        return {**super().tasks_in(root), "edges": DataTask("boundaries_pascal", 1)}

    @classmethod
    def look(cls, root: Path | None) -> Layout:
        """Return what lies in a folder PASCAL_MT."""
        folder = require_root(cls.name, root)
        sets = folder / "ImageSets" / "Context"
        splits: dict[Split, tuple[str, ...]] = {
            "train": readers.read_ids(sets / "train.txt"),
            "test": readers.read_ids(sets / "val.txt"),
        }
        png = readers.SUFFIXES["png"]
        maps = readers.files_in(folder / "pascal-context" / "trainval", readers.SUFFIXES["mat"])
        classes = readers.files_in(folder / "semseg" / "pascal-context", png)
        classes |= readers.files_in(folder / "semseg" / "VOC12", png)
        parts = readers.files_in(folder / "human_parts", readers.SUFFIXES["mat"])
        normals = readers.files_in(folder / "normals_distill", png)
        saliency = readers.files_in(folder / "sal_distill", png)
        images = readers.files_in(folder / "JPEGImages", readers.SUFFIXES["jpg"])
        return Layout(
            packaging="PASCAL_MT",
            splits=splits,
            images=Source("image", 3, by_id(images), read_image),
            labels={
                "semseg": Source("semseg", 21, by_id(classes), read_classes, "nearest"),
                "human_parts": Source("human_parts", 7, by_id(parts), read_parts, "nearest"),
                "saliency": Source("saliency", 1, by_id(saliency), read_saliency, "nearest"),
                "normals": Source("normals", 3, by_id(normals, maps), read_normals, "nearest"),
                "edges": Source("boundaries_pascal", 1, by_id(maps), read_edges, "nearest"),
            },
        )


def read_classes(files: Sequence[Path]) -> np.ndarray:
    """Read classes [H, W] of a palette or grey PNG."""
    return readers.read_png(files[0]).astype(np.uint8)


def read_parts(files: Sequence[Path]) -> np.ndarray:
    """Read groups of people's parts [H, W], 1 to 6 on background 0; without truth where no person has parts.

    Raises:
        UsageError: A part has an unknown name.
    """
    objects = readers.read_mat(files[0], "anno")
    with readers.reading(files[0], "an annotation of parts"):
        people = [thing for thing in _flat(objects[0][0][1]) if int(np.ravel(thing[1])[0]) == PERSON]
        painted = [
            (part[1].astype(bool), _group(str(np.ravel(part[0])[0]), files[0]))
            for thing in people
            for part in _flat(thing[3])
        ]
        if not painted:
            return np.full((1, 1), IGNORED, dtype=np.uint8)  # made to fit the image
        target = np.zeros(painted[0][0].shape, dtype=np.uint8)
        for mask, group in painted:
            target[mask] = group
        return target


def read_saliency(files: Sequence[Path]) -> np.ndarray:
    """Read what is salient [H, W]."""
    return (readers.read_png(files[0]) > 127).astype(np.uint8)


def read_normals(files: Sequence[Path]) -> np.ndarray:
    """Read distilled normals [H, W, 3] where the class of the LabelMap makes them believable.

    In the files y points down: so the family that made them turns them with the picture.
    """
    vectors = 2 * readers.read_rgb(files[0]).astype(np.float32) / 255 - 1
    classes = _label_map(files[1])
    rows = ((np.arange(vectors.shape[0]) + 0.5) * classes.shape[0] / vectors.shape[0]).astype(int)
    columns = ((np.arange(vectors.shape[1]) + 0.5) * classes.shape[1] / vectors.shape[1]).astype(int)
    believed = np.zeros(int(classes.max()) + 1, dtype=bool)
    believed[[number for number in SHARED_WITH_NYU if number < len(believed)]] = True
    return unit_normals(vectors * np.array([1, -1, 1], dtype=np.float32), ~believed[classes[rows[:, None], columns]])


def read_edges(files: Sequence[Path]) -> np.ndarray:
    """Return the thinned boundaries [H, W] of the LabelMap: where its discrete Laplacian is not 0."""
    classes = _label_map(files[0]).astype(np.int64)
    around = np.pad(classes, 1, mode="reflect") if min(classes.shape) > 1 else np.pad(classes, 1, mode="edge")
    neighbours = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return thin(neighbours != 4 * classes).astype(np.uint8)


def _label_map(path: Path) -> np.ndarray:
    classes = np.asarray(readers.read_mat(path, "LabelMap"))
    if classes.ndim != 2:
        raise UsageError(f"{str(path)!r}: LabelMap has the shape {list(classes.shape)}, [H, W] is expected.")
    return classes


def _flat(cells: Any) -> Any:
    """Return the elements of a MATLAB array of structures, however it is nested."""
    return np.asarray(cells).ravel() if np.size(cells) else ()


def _group(name: str, path: Path) -> int:
    if name not in GROUP_OF:
        raise UsageError(f"{str(path)!r} has a part {name!r}; known are {', '.join(sorted(GROUP_OF))}.")
    return GROUP_OF[name]
