"""Text that comes from files, made harmless for where it is shown: one function a format."""

import re
from typing import Any

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Return text on one line, without control characters, changes of direction and half characters."""
    return _CONTROLS.sub(lambda found: " " if found.group() in "\t\n\r" else "\N{REPLACEMENT CHARACTER}", text)


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no HTML, no link, no picture, no code, no end of a cell."""
    text = re.sub(r"([\\`*\[|])", r"\\\1", plain(text))
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def csv(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; what is no text stays."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if re.match(r"[=+@]|-(?![\d.\s]|$)", text) else text
