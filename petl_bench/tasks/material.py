"""Segmentation of materials."""

from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("material")
class Material(ClassTask):
    """What the surface of every pixel is made of: paint, wood, fabric and so on; no class is a background."""

    loss_weight = 1.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
