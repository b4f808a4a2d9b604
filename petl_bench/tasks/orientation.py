"""Orientation of surfaces."""

from petl_bench.tasks._classes import PlacedClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("orientation")
class Orientation(PlacedClassTask):
    """Which way the surface of every pixel faces, seen by a camera held level: up, down, to the camera, left, right.

    A mirror swaps the last two.
    """

    loss_weight = 1.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
    fixed_channels = 5
