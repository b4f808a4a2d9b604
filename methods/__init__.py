"""The methods that petl-bench ships: one file each, ``_name.py`` for layers that several share.

The harness finds them by parsing these files; nothing here is imported until a method is used.
"""

PETL_BENCH_API = 1
