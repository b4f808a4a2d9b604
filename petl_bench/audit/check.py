"""Read a data set in files from end to end and say what is there, and what is off."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from petl_bench.data.geometry import IGNORED, REAL_WITHOUT_TRUTH
from petl_bench.data.layout import Layout
from petl_bench.data.on_disk import FileDataset
from petl_bench.errors import UsageError
from petl_bench.plugins import load

SHOWN = 20  # findings of one kind that are listed
CLASSES_SHOWN = 10


@dataclass
class TaskSeen:
    """What the labels of a task were seen to be.

    Attributes:
        labelled: Images with a label, by split.
        pixels: Of all labels that were read; ``valid`` of them have truth.
        classes: Pixels by class, or of 0 and 1.
        low: The smallest number with truth; ``high`` the largest.
    """

    labelled: dict[str, int] = field(default_factory=dict)
    dtype: str = ""
    pixels: int = 0
    valid: int = 0
    classes: Counter[int] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf


@dataclass
class Audit:
    """What was seen.

    Attributes:
        packaging: As the data set names it.
        counts: Images by split; ``known`` are the published ones.
        read: How many images were read, with their labels.
        sizes: Images by height and width.
        wrong: What is off, one line each.
        notes: What may be as it should.
        digest: What records carry as the hash of the data, of all tasks that have labels.
    """

    packaging: str
    counts: dict[str, int]
    known: dict[str, int]
    read: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    tasks: dict[str, TaskSeen] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""


def file_dataset(name: str) -> type[FileDataset]:
    """Return a data set that lies in files.

    Raises:
        UsageError: There is none of that name, or it is drawn.
    """
    dataset = load("datasets", name)
    if not issubclass(dataset, FileDataset):
        raise UsageError(f"The data set {name!r} is not read from files: there is nothing to check or to write.")
    return dataset


def audit(
    name: str, root: Path, *, limit: int | None = None, tell: Callable[[int, int], None] = lambda done, total: None
) -> Audit:
    """Look at every image and label.

    Args:
        name: The data set.
        root: Its folder.
        limit: Read so many images at most, evenly spaced; all without.
        tell: Called with the number of images done, and of all.

    Raises:
        UsageError: The folder is not that data set at all.
    """
    dataset = file_dataset(name)
    layout = dataset.look(root)
    counts = {split: len(ids) for split, ids in layout.splits.items()}
    seen = Audit(layout.packaging, counts, dict(dataset.known_counts))
    for split, expected in seen.known.items():
        if counts[split] != expected:
            seen.wrong.append(f"{split} names {counts[split]} images; published are {expected}")
    _look_at_lists(layout, seen, is_published=bool(seen.known))
    present = [task for task, one in seen.tasks.items() if any(one.labelled.values())]
    ids = [one for one in layout.ids if one in layout.images.files]
    chosen = ids if limit is None else ids[:: max(1, len(ids) // limit)][:limit]
    for done, one in enumerate(chosen, start=1):
        _look_at_image(layout, one, present, seen)
        tell(done, len(chosen))
    seen.digest = dataset.content_hash(dataset.Config.model_construct(), root=root, tasks=present)
    return seen


def _look_at_lists(layout: Layout, seen: Audit, *, is_published: bool) -> None:
    missing = [name for name in layout.ids if name not in layout.images.files]
    _list(seen.wrong, missing, "images are missing")
    spare = len(set(layout.images.files) - set(layout.ids))
    if spare:
        seen.notes.append(f"{spare} images are in no list and are not used")
    for task, source in layout.labels.items():
        one = seen.tasks[task] = TaskSeen()
        for split, ids in layout.splits.items():
            one.labelled[split] = sum(name in source.files for name in ids)
        without = [name for name in layout.ids if name not in source.files]
        if len(without) == len(layout.ids):
            seen.notes.append(f"{task}: no labels; leave it out of --tasks")
        elif without and is_published:
            _list(seen.wrong, without, f"images have no label of {task}")
        elif without:
            seen.notes.append(f"{task}: {len(without)} of {len(layout.ids)} images have no label, so no truth")


def _look_at_image(layout: Layout, name: str, tasks: Sequence[str], seen: Audit) -> None:
    try:
        image = layout.read_image(name)
    except UsageError as error:
        seen.wrong.append(str(error).partition("\n")[0])
        return
    seen.read += 1
    size = (image.shape[0], image.shape[1])
    seen.sizes[size] += 1
    for task in tasks:
        if name not in layout.labels[task].files:
            continue
        try:
            label = layout.read_label(task, name, size)
        except UsageError as error:
            seen.wrong.append(str(error).partition("\n")[0])
            continue
        _count(seen.tasks[task], label, layout.labels[task].kind)


def _count(one: TaskSeen, label: np.ndarray, kind: str) -> None:
    one.dtype = str(label.dtype)
    one.pixels += label.shape[0] * label.shape[1]
    if label.ndim == 3:
        one.valid += int((label != 0).any(-1).sum())
        return
    is_whole = kind not in REAL_WITHOUT_TRUTH
    above_zero = REAL_WITHOUT_TRUTH.get(kind) == 0
    valid = label[label != IGNORED] if is_whole else label[np.isfinite(label) & ((label > 0) | (not above_zero))]
    one.valid += valid.size
    if valid.size:
        one.low, one.high = min(one.low, float(valid.min())), max(one.high, float(valid.max()))
    if is_whole:
        numbers, pixels = np.unique(valid, return_counts=True)
        one.classes.update(dict(zip(numbers.tolist(), pixels.tolist(), strict=True)))


def rows_of(seen: Audit) -> list[dict[str, str]]:
    """Return one row a task, for a table."""
    return [
        {
            "task": task,
            **{f"labels, {split}": f"{one.labelled[split]:,}" for split in one.labelled},
            "dtype": one.dtype or "-",
            "valid (%)": f"{100 * one.valid / one.pixels:.1f}" if one.pixels else "-",
            "range": f"{one.low:g} to {one.high:g}" if one.high >= one.low else "-",
            "classes (% of valid pixels)": _histogram(one),
        }
        for task, one in seen.tasks.items()
    ]


def _histogram(one: TaskSeen) -> str:
    if not one.classes:
        return "-"
    shares = [f"{number}: {100 * pixels / one.valid:.1f}" for number, pixels in one.classes.most_common(CLASSES_SHOWN)]
    rest = len(one.classes) - len(shares)
    return ", ".join(shares) + (f", and {rest} more" if rest > 0 else "")


def _list(findings: list[str], names: Sequence[str], what: str) -> None:
    if names:
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
        findings.append(f"{len(names)} {what}: {shown}")
