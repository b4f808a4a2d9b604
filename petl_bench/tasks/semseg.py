"""Semantic segmentation."""

from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("semseg")
class SemanticSegmentation(ClassTask):
    """The class of every pixel, background included."""

    loss_weight = 1.0
    label_resize = "nearest"
    ignore = 255
    convention = "miou"
    convention_version = 1
    primary = "miou"
    unit = "%"
    higher_is_better = True
