"""Digests of a few pictures of each domain and split, label by label: what proves that no pixel moved."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from petl_bench.data.scenes.labels import FURTHER, LABELS
from petl_bench.data.scenes.render import DOMAINS, SPLITS, Picture, render
from petl_bench.data.scenes.version import CONTENT_HASH, FURTHER_HASH

_SIZE, _PICTURES = 32, 8


def digests() -> dict[str, dict[str, str]]:
    """The sha256 of the image and of each label over the first pictures of every split, by ``version/domain/split``."""
    return {split: of_split for domain in DOMAINS for split, of_split in _of_domain(domain)}


def _of_domain(domain: str) -> Iterator[tuple[str, dict[str, str]]]:
    for split in SPLITS:
        labels = (*LABELS[domain], *FURTHER)
        pictures = [render(domain, split, index, _SIZE, labels) for index in range(_PICTURES)]
        image = _digest(picture.image for picture in pictures)
        yield f"{CONTENT_HASH}/{domain}/{split}", {"image": image, **_of_labels(pictures, LABELS[domain])}
        yield f"{FURTHER_HASH}/{domain}/{split}", _of_labels(pictures, FURTHER)


def _of_labels(pictures: list[Picture], names: Iterable[str]) -> dict[str, str]:
    return {name: _digest(picture.labels[name] for picture in pictures) for name in names}


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
