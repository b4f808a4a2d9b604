"""Curvature of surfaces."""

from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("curvature")
class Curvature(ClassTask):
    """In how many directions the surface of every pixel is curved: flat, like a cylinder, like a ball."""

    loss_weight = 1.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
    fixed_channels = 3
