"""Sections of settings: frozen and strict, read from TOML values, laid over one another, hashed."""

import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from petl_bench.errors import UsageError, nearest

SEE_EVERY_KEY = "Type: petl-bench run ... --dry-run   to see every key with its value."


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def parse_value(text: str) -> Any:
    """Read the right side of ``--set key=value`` as a TOML value; what is not TOML is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def assign(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set ``settings["a"]["b"] = value`` for the key ``a.b``, creating the sections on the way.

    Raises:
        UsageError: A part of the key names a value, not a section.
    """
    *sections, last = key.split(".")
    for depth, name in enumerate(sections, start=1):
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key!r}: {'.'.join(sections[:depth])!r} is a value, not a section with keys of its own.")
        settings = inner
    settings[last] = value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over`` laid on top, section by section."""
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        both_are_sections = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(held, value) if both_are_sections else value  # pyright: ignore[reportArgumentType]
    return merged


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that ``--set`` can reach in ``model``."""
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return None


def validate_section(model: type[S], values: Mapping[str, Any], section: str, *, hint: str = SEE_EVERY_KEY) -> S:
    """Build a section strictly (no ``"8"`` for ``8``, no unknown key); an error ends with the ``hint``.

    Raises:
        UsageError: With every key at fault, what was got, what is expected and the nearest valid key.
    """
    try:
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UsageError(f"{_explain(error, model, section)}\n{hint}") from None


def _explain(error: ValidationError, model: type[BaseModel], section: str) -> str:
    prefix = f"{section}." if section else ""
    allowed = [prefix + key for key in keys(model)]
    lines: list[str] = []
    for fault in error.errors():
        key = prefix + ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            match = nearest(key, allowed)
            hint = f" Did you mean {match!r}?" if match else ""
            shown = [name for name in allowed if name.startswith(key.rpartition(".")[0])] or allowed
            lines.append(f"Unknown key {key!r}.{hint} Allowed: {', '.join(shown)}.")
        elif fault["type"] == "missing":
            lines.append(f"{key!r} is missing.")
        elif fault["type"] == "value_error":
            lines.append(f"{key.rstrip('.')}: {fault.get('ctx', {})['error']}")
        else:
            expected = fault["msg"].removeprefix("Input should be ")
            lines.append(f"{key} = {json.dumps(fault['input'])}: expected is {expected}.")
    return "\n".join(lines)


def canonical(value: Any) -> str:
    """Return ``value`` as JSON text that is equal for equal content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
