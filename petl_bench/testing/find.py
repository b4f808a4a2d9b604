"""From what was typed to the subjects of the kit: a registered method, or a class of any module."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petl_bench import plugins
from petl_bench.backbones.base import in_words
from petl_bench.config import validate_section
from petl_bench.errors import UsageError, nearest, unknown_name
from petl_bench.method import Method
from petl_bench.testing.subject import TINY, Subject


def find_method(asked: str) -> type[Method]:
    """Return a registered method, or the class ``module:Class`` of a module that Python finds from here.

    Raises:
        UsageError: There is none.
    """
    module_name, colon, class_name = asked.partition(":")
    if not colon:
        return plugins.load("methods", asked)
    if not all(part.isidentifier() for part in [*module_name.split("."), class_name]):
        raise UsageError(f"{asked!r}: MODULE:CLASS is expected.\nType: petl-bench check my_module:MyMethod")
    module = _import(module_name, class_name)
    methods = {
        name: found
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Method) and found is not Method
    }
    if class_name not in methods:
        likely = nearest(class_name, methods) or next(iter(methods), "MyMethod")
        noun = f"subclass of Method in the module {module_name!r}:"
        raise unknown_name(noun, class_name, methods, command=f"petl-bench check {module_name}:{likely}")
    method = methods[class_name]
    if not hasattr(method, "name"):
        method.name = class_name  # as registering it would
    return method


def subjects(method: type[Method], family: str | None, settings: Mapping[str, Any]) -> list[Subject]:
    """Return a configured method on one of the kit's networks, or on all that have what it needs.

    Raises:
        UsageError: A setting that it does not have, or a network that lacks what it needs.
    """
    config = validate_section(method.Config, {"name": method.name, **settings}, "method")
    every = [Subject(method, config, name) for name in TINY if family in (None, name)]
    chosen = [subject for subject in every if not subject.missing()]
    if not chosen:
        raise UsageError(
            f"The method {method.name!r} needs {in_words(every[0].missing())}, which "
            f"{family or 'no network of the kit'} does not have.\nType: petl-bench list backbones --support"
        )
    return chosen


def _import(module: str, class_name: str) -> Any:
    here = Path.cwd()
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    try:
        return importlib.import_module(module)
    except Exception as error:  # a module's own code may raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module}.".startswith(f"{missing}."):
            match = nearest(module, sorted(path.stem for path in here.glob("*.py")))
            raise UsageError(
                f"There is no module {module!r}, neither in {str(here)!r} nor elsewhere on Python's path."
                + (f" Did you mean {match!r}?" if match else "")
                + f"\nType: petl-bench check {match or 'my_module'}:{class_name}   or: petl-bench list methods"
            ) from None
        raise UsageError(
            f"The module {module!r} cannot be imported: {type(error).__name__}: {error}\n"
            f"Type: python -c 'import {module}'   to see where"
        ) from error
