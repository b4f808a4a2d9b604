"""Settings and texts, changed in one place: to something that is nearly right, or that nobody should type."""

import copy
import json
import random
import re
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 7, 2**31, 2**63, 10**30, -(10**400), 0.0, -0.5, 1e-320, 1e308),
    *("", " ", "x", "nan", "inf", "-1", "²", "٣", "\x00", "\ud800", "\u202e", "../x", "~nobody/x", "a" * 5000),
    *("vmt", "decoders", "semseg", "embedded", "file:", "file:/dev/null", "file:.", "hf-hub:", "cuda:99"),
    *([], [[]], [1], ["semseg"], ["semseg", "semseg"], [None], {}, {"name": 3}, {"a": {"b": {}}}, {"": 1}),
)
TOKENS = (
    "[",
    "]",
    "{",
    "}",
    "=",
    "'",
    '"',
    '"""',
    ".",
    ",",
    "\n",
    "\x00",
    "\r",
    "#",
    "_",
    "1979-05-27",
    "07:32",
    "inf",
)


def mutate(settings: dict[str, Any], draw: random.Random, names: dict[str, list[str]]) -> None:
    """Change one place of nested settings."""
    inner: Any = settings
    while True:
        keys = [*inner] if isinstance(inner, dict) else [*range(len(inner))]
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(inner[key], (dict, list)) and inner[key] and draw.random() < 0.8:
            inner = inner[key]
            continue
        break
    value = inner[key]
    kind = draw.randrange(9)
    if kind == 0:
        del inner[key]
    elif kind == 1 and isinstance(inner, dict):
        inner[draw.choice((key[1:], key + "s", key.upper(), "x", "", "a.b", "\ud800"))] = value
    elif kind == 2:
        inner[key] = [value]
    elif kind == 3:
        inner[key] = {"name": value}
    elif kind == 4:
        inner[key] = draw.choice(names[draw.choice(sorted(names))])
    elif kind == 5 and isinstance(value, (int, float)):
        inner[key] = draw.choice((-value, value * 10**6, 0.5, str(value), bool(value)))
    elif kind == 6 and isinstance(value, str):
        written = value.encode(errors="surrogatepass").hex()
        inner[key] = draw.choice((value[:-1], value * 2, value.upper(), written, value + "\x00"))
    else:
        inner[key] = copy.deepcopy(draw.choice(VALUES))


def scratch(content: bytearray, draw: random.Random) -> None:
    """Change one place of a text: cut, doubled, filled with noise or with what means something there."""
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.randrange(1, 40))
    kind = draw.choice((0, 1, 2, 3, 4, 4, 4, 4, 5))
    if kind == 0:
        del content[start:end]
    elif kind == 1:
        content[start:start] = content[start:end] * draw.randrange(1, 4)
    elif kind == 2:
        content[start:end] = draw.randbytes(draw.randrange(1, 8))
    elif kind == 3:
        content[start:start] = draw.choice(TOKENS).encode()
    elif kind == 4:
        values = [*re.finditer(rb"= *(\S+)", content)]
        if values:
            place = draw.choice(values).span(1)
            content[place[0] : place[1]] = toml_of(draw.choice(VALUES)).encode(errors="surrogateescape")
    else:
        lines = content.split(b"\n")
        draw.shuffle(lines)
        content[:] = b"\n".join(lines)


def toml_of(value: Any) -> str:
    """Return a value in TOML; what TOML lacks becomes something that is none."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_of(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def as_arguments(settings: Any, prefix: str = "") -> list[str]:
    """Return nested settings as values of ``--set``."""
    if isinstance(settings, dict) and settings:
        return [text for key, value in settings.items() for text in as_arguments(value, f"{prefix}{key}.")]
    return [f"{prefix[:-1]}={toml_of(settings)}"]
