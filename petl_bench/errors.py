"""The one error that is a user's mistake: shown as a message, never as a traceback."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """What was asked cannot be done; the message says what was got, what is allowed, what to type next."""


class UnreadableError(UsageError):
    """A file of a data set is damaged, or the disk does not give it."""


def nearest(got: str, allowed: Iterable[str]) -> str | None:
    """Return the name in ``allowed`` that is spelt most like ``got``, or None if none is close."""
    names = list(allowed)
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(got.lower(), by_lower, n=3, cutoff=0.5)
    if close:
        swapped = [name for name in close if sorted(name) == sorted(got.lower())]
        return by_lower[[*swapped, *close][0]]
    starts = [name for name in names if got and name.lower().startswith(got.lower())]
    return starts[0] if starts else None


def unknown_name(noun: str, got: str, allowed: Iterable[str], *, command: str, limit: int = 12) -> UsageError:
    """Build the error for an unknown name: what was got, the nearest match, what is allowed, what to type."""
    names = sorted(set(allowed))
    match = nearest(got, names)
    lines = [f"Unknown {noun} {got!r}." + (f" Did you mean {match!r}?" if match else "")]
    if names:
        shown = names if len(names) <= limit else [*difflib.get_close_matches(got, names, n=limit, cutoff=0.4)]
        if shown:
            lines.append(("Allowed: " if len(names) <= limit else "Close ones: ") + ", ".join(shown) + ".")
    lines.append(f"Type: {command}")
    return UsageError("\n".join(lines))
