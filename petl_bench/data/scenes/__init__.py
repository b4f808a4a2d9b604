"""scenes: procedural indoor rooms with exact dense labels, in two domains.

Every picture is a function of ``(SCENES_VERSION, domain, split, index, size)`` alone. The domain ``source`` serves to
pre-train a backbone (labels: depth, edges); the domain ``target`` is what methods are transferred to. Start at
``petl_bench.data.scenes.render.render``; arrays of a whole split come from ``petl_bench.data.scenes.cache``.

The pixel path uses numpy with ``+ - * /``, ``sqrt``, comparisons and integers only, so that pictures are bit for bit
the same on every machine.
"""

SCENES_VERSION = 1
"""Raised whenever a change moves a pixel or a label of a released picture."""
