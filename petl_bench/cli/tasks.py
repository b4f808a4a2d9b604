"""What ``--tasks`` and ``--seeds`` take: one grammar a question, and an answer that names the command with another.

run       4, or names: semseg,normals      one set of tasks of the data set
params    the same, or semseg:21,normals:3 likewise, or with channels of one's own
scaling   1,2,4,8,16                       numbers of tasks, to compare
"""

import re

from petl_bench.errors import UsageError

MOST_SEEDS = 10_000
NUMBER = re.compile("[0-9]{1,15}")


def tasks_of_a_run(text: str) -> str:
    """Return what one run is trained on: a number, or names.

    Raises:
        UsageError: Channels, or several numbers.
    """
    if ":" in text:
        raise UsageError(
            f"--tasks {text}: a run has the channels of its data set; `params` alone counts with others.\n"
            f"Type: petl-bench run ... --tasks {','.join(part.partition(':')[0].strip() for part in text.split(','))}"
        )
    return tasks_or_channels(text)


def tasks_or_channels(text: str) -> str:
    """Return one set of tasks: a number, names, or names with channels.

    Raises:
        UsageError: Several numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and all(part.isdigit() for part in parts):
        raise UsageError(
            f"--tasks {text}: one number or names are expected; `scaling` compares several numbers of tasks.\n"
            f"Type: --tasks {parts[-1]}   or: petl-bench scaling --tasks {text}"
        )
    return text


def numbers_of_tasks(text: str, *, at_least: int = 2) -> tuple[int, ...]:
    """Return the numbers of tasks that are compared, ascending.

    Raises:
        UsageError: Too few, or something else than numbers from 1 up.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(NUMBER.fullmatch(part) and int(part) for part in parts) or len(set(parts)) < at_least:
        raise UsageError(
            f"--tasks {text}: {at_least} or more numbers of tasks are expected; `run` and `params` take names.\n"
            "Type: --tasks 1,2,4,8,16"
        )
    return tuple(sorted({int(part) for part in parts}))


def seeds_of(text: str) -> tuple[int, ...]:
    """Return the seeds of ``0-4`` or ``0,1,2``, each once, as typed.

    Raises:
        UsageError: Something else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        last = last if dash else first
        if not (NUMBER.fullmatch(first) and NUMBER.fullmatch(last) and int(first) <= int(last)):
            raise UsageError(
                f"--seeds {text[:60]}: whole numbers or ranges are expected.\nType: --seeds 0-4   or: --seeds 0,1,2"
            )
        if int(last) - int(first) >= MOST_SEEDS:
            raise UsageError(f"--seeds {text[:60]}: {MOST_SEEDS} seeds are the most.\nType: --seeds 0-4")
        seeds += range(int(first), int(last) + 1)
    return tuple(dict.fromkeys(seeds))
