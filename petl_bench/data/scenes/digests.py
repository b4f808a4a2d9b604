"""Digests of a few pictures of each domain and split, label by label: what proves that no pixel moved."""

import hashlib
from collections.abc import Iterator

from petl_bench.data.scenes.render import DOMAINS, SPLITS, render
from petl_bench.data.scenes.version import CONTENT_HASH

_SIZE, _PICTURES = 32, 8


def digests() -> dict[str, dict[str, str]]:
    """The sha256 of the image and of each label over the first pictures of every split, by ``version/domain/split``."""
    return {
        f"{CONTENT_HASH}/{domain}/{split}": dict(_of_split(domain, split)) for domain in DOMAINS for split in SPLITS
    }


def _of_split(domain: str, split: str) -> Iterator[tuple[str, str]]:
    pictures = [render(domain, split, index, _SIZE) for index in range(_PICTURES)]
    yield "image", hashlib.sha256(b"".join(picture.image.tobytes() for picture in pictures)).hexdigest()
    for name in pictures[0].labels:
        yield name, hashlib.sha256(b"".join(picture.labels[name].tobytes() for picture in pictures)).hexdigest()
