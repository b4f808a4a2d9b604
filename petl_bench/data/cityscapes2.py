"""cityscapes2: Cityscapes with 7 classes and inverse depth, small, as LibMTL and MTAN pass it on."""

from pathlib import Path

from petl_bench.data.base import DATASETS
from petl_bench.data.layout import Layout
from petl_bench.data.libmtl import numbered, read_positive, read_signed_classes
from petl_bench.data.on_disk import FileDataset, require_root


@DATASETS.register("cityscapes2")
class Cityscapes2(FileDataset):
    """Streets of 128 x 256 pixels with 7 classes and inverse depth."""

    tasks = {"semseg": 7, "disparity": 1}
    known_counts = {"train": 2975, "test": 500}
    guide = """
Cityscapes for two tasks as LibMTL and MTAN pass it on (examples/cityscapes of median-research-group/LibMTL).
Licence: Cityscapes' own terms; pictures may not be passed on.

    train/image/N.npy   [128, 256, 3], 0 to 1          2,975 files
    train/label/N.npy   [128, 256], 0 to 6, -1 no truth
    train/depth/N.npy   [128, 256, 1], inverse depth, 0 no truth
    val/...             500 files; what the literature tests on

Traps: "depth" is inverse depth, in no unit; here its task is called disparity, and nothing in metres stands beside it.
LibMTL does not normalise pictures; here the backbone's normalisation is used. Images are twice as wide as high.
"""

    @classmethod
    def look(cls, root: Path | None) -> Layout:
        """Return what lies in a folder."""
        inner = {"semseg": ("label", read_signed_classes), "disparity": ("depth", read_positive)}
        return numbered(require_root(cls.name, root), "", cls.tasks_in(root), inner)
