"""Segmentation of human body parts."""

from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("human_parts")
class HumanParts(ClassTask):
    """The body part of every pixel; class 0 is the background. An image without any part is 255 throughout."""

    loss_weight = 2.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
