"""Edges of NYU-Depth v2, scored by ODS-F."""

from petl_bench.tasks._boundaries import Boundaries
from petl_bench.tasks.base import TASKS


@TASKS.register("boundaries_nyud")
class NYUDBoundaries(Boundaries):
    """Boundaries with the tolerance of NYU-Depth v2: 0.011 of the diagonal."""

    loss_weight = 50.0
    metrics = {
        "ods_f_thin99": ("%", True, "1[0.01:0.99:99,0.011,nearest]"),
        "ods_f_nms_thin101": ("%", True, "1[0.001:0.999:101,0.011,nearest]"),
        "pixel_f": ("%", True, "1[0.01:0.99:99]"),
    }
    primary = "ods_f_thin99"
    tolerance = 0.011
