"""scenes: procedural indoor rooms with exact dense labels, in two domains.

Every picture is a function of ``(SCENES_VERSION, domain, split, index, size)`` alone. The domain ``source`` serves to
pre-train a backbone (labels: depth, edges); the domain ``target`` is what methods are transferred to. What stands here
is all that other rooms may import: ``render`` makes one picture, ``cached_split`` gives the arrays of a whole split.
Ten further labels of both domains are made where one of them is asked for.

The pixel path uses numpy with ``+ - * /``, ``sqrt``, comparisons and integers only, so that pictures are bit for bit
the same on every machine.
"""

from petl_bench.data.scenes.cache import cached_split
from petl_bench.data.scenes.labels import FURTHER, LABELS, PART_NAMES, SEMSEG_CLASSES, SUBSTANCES
from petl_bench.data.scenes.render import Picture, render
from petl_bench.data.scenes.version import CONTENT_HASH, FURTHER_HASH, SCENES_VERSION

__all__ = [
    "CONTENT_HASH",
    "FURTHER",
    "FURTHER_HASH",
    "LABELS",
    "PART_NAMES",
    "SCENES_VERSION",
    "SEMSEG_CLASSES",
    "SUBSTANCES",
    "Picture",
    "cached_split",
    "render",
]
