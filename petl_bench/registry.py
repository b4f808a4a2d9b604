"""Registries: a name, written in the file that holds the thing, leads to its class."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from petl_bench.errors import unknown_name

C = TypeVar("C", bound=type)
K = TypeVar("K", bound=type)


class Registry(Generic[C]):
    """Classes by name. Filled by ``@REGISTRY.register("name")`` when the file of a class is imported."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._classes: dict[str, C] = {}

    def register(self, name: str) -> Callable[[K], K]:
        """Register the decorated class under ``name`` and set its ``name`` attribute.

        Raises:
            ValueError: Another class holds the name already.
        """

        def decorate(cls: K) -> K:
            held = self._classes.get(name)
            if held is not None and (held.__module__, held.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"The {self.noun} name {name!r} is taken by {held.__module__}.{held.__qualname__}; "
                    f"{cls.__module__}.{cls.__qualname__} needs another one."
                )
            cast(Any, cls).name = name
            self._classes[name] = cast(C, cls)
            return cls

        return decorate

    def __getitem__(self, name: str) -> C:
        if name not in self._classes:
            raise unknown_name(self.noun, name, self._classes, command=f"petl-bench list {self.noun}s")
        return self._classes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))
