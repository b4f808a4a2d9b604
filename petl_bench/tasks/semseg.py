"""Semantic segmentation."""

from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("semseg")
class SemanticSegmentation(ClassTask):
    """The class of every pixel, background included."""

    loss_weight = 1.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
