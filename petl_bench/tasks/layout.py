"""Layout of the room."""

from petl_bench.tasks._classes import PlacedClassTask
from petl_bench.tasks.base import TASKS


@TASKS.register("layout")
class RoomLayout(PlacedClassTask):
    """The plane of the empty room behind every pixel: floor, ceiling, wall in front, to the left, to the right.

    A mirror swaps the last two.
    """

    loss_weight = 1.0
    metrics = {"miou": ("%", True, "1"), "miou_all": ("%", True, "1"), "pixel_accuracy": ("%", True, "1")}
    primary = "miou"
    fixed_channels = 5
