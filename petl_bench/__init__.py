"""petl-bench: parameter-efficient transfer learning for multi-task dense prediction, compared fairly.

Importing this package imports no torch: the public names below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from petl_bench.api import create_model as create_model
    from petl_bench.api import run as run
    from petl_bench.backbones.base import Backbone as Backbone
    from petl_bench.config import MethodConfig as MethodConfig
    from petl_bench.config import RunConfig as RunConfig
    from petl_bench.engine.build import build as build
    from petl_bench.engine.saved import load as load
    from petl_bench.engine.saved import save as save
    from petl_bench.errors import UsageError as UsageError
    from petl_bench.features import Features as Features
    from petl_bench.ledger import count as count
    from petl_bench.method import Method as Method
    from petl_bench.model import MultiTaskModel as MultiTaskModel
    from petl_bench.plugins import DATASETS as DATASETS
    from petl_bench.plugins import DECODERS as DECODERS
    from petl_bench.plugins import METHODS as METHODS
    from petl_bench.plugins import TASKS as TASKS
    from petl_bench.records.run import RunRecord as RunRecord
    from petl_bench.report.frames import frames as report

__version__ = "0.1.0"

_HOMES = {
    "Backbone": "petl_bench.backbones.base",
    "DATASETS": "petl_bench.plugins",
    "DECODERS": "petl_bench.plugins",
    "Features": "petl_bench.features",
    "METHODS": "petl_bench.plugins",
    "Method": "petl_bench.method",
    "MethodConfig": "petl_bench.config",
    "MultiTaskModel": "petl_bench.model",
    "RunConfig": "petl_bench.config",
    "RunRecord": "petl_bench.records.run",
    "TASKS": "petl_bench.plugins",
    "UsageError": "petl_bench.errors",
    "build": "petl_bench.engine.build",
    "count": "petl_bench.ledger",
    "create_model": "petl_bench.api",
    "load": "petl_bench.engine.saved",
    "run": "petl_bench.api",
    "save": "petl_bench.engine.saved",
}

__all__ = [
    "DATASETS",
    "DECODERS",
    "METHODS",
    "TASKS",
    "Backbone",
    "Features",
    "Method",
    "MethodConfig",
    "MultiTaskModel",
    "RunConfig",
    "RunRecord",
    "UsageError",
    "__version__",
    "build",
    "count",
    "create_model",
    "load",
    "report",
    "run",
    "save",
]


def __getattr__(name: str) -> Any:
    if name == "report":
        return import_module("petl_bench.report")  # a package that can be called
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
