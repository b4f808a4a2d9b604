"""A store in one file, to be passed on: a zip with the sha256 of every file in it, unpacked with distrust.

``pack.json`` comes first and names every other member. What a run left is stored under its folder's name. A pack from
elsewhere may be anything: its members are those that it names, with names of runs and no paths, of bounded size, with
the content that was hashed, and every run is as sound as ``store check`` wants it before it appears in the store.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petl_bench.errors import UsageError
from petl_bench.files import appearing
from petl_bench.records.check import wrong_in
from petl_bench.records.store import CURVE, PICTURE, RECORD, SCORES, STATISTICS, WEIGHTS, Store

LIST = "pack.json"
FORMAT = 1
FILES = (RECORD, CURVE, SCORES, STATISTICS, WEIGHTS, PICTURE)
TEXTS = (RECORD, CURVE)
"""What is compressed; the rest is compressed as it is."""
MEMBER = re.compile(rf"([A-Za-z0-9][\w.+-]{{0,199}})/({'|'.join(map(re.escape, FILES))})", re.ASCII)
MOST_MEMBERS = 1_000_000
MOST_BYTES = 2**31
"""Of one member."""
MOST_GROWTH = 100
"""How many times as large as the pack its members may be together; records shrink to a tenth."""
CHUNK = 2**20
BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Packed:
    """What was packed or unpacked.

    Attributes:
        done: Names of runs.
        left_out: Names of others, with why.
        digest: The sha256 of the pack.
    """

    done: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    digest: str


def pack(store: Path, path: Path) -> Packed:
    """Write the runs of a store into one file, the same bytes for the same runs; unsound ones are left out.

    Raises:
        UsageError: The file is there already, or the store holds no sound run.
        OSError: The store cannot be read, or the file not be written.
    """
    if path.exists():
        raise UsageError(f"{str(path)!r} is there already and is not overwritten.\nType: another name for the pack")
    runs = sorted(entry for entry in store.iterdir() if not entry.name.startswith(".") and (entry / RECORD).is_file())
    wrong = {run.name: wrong_in(run, run.name) for run in runs}
    files = [run / name for run in runs if not wrong[run.name] for name in FILES if (run / name).is_file()]
    if not files:
        raise UsageError(f"There is no sound run in {str(store)!r}.\nType: petl-bench store check {store}")
    listed = {f"{file.parent.name}/{file.name}": _digest(file) for file in files}
    with appearing(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        _add(archive, LIST, json.dumps({"format": FORMAT, "files": listed}, indent=1).encode())
        for file in files:
            _add(archive, f"{file.parent.name}/{file.name}", file.read_bytes())
    left_out = tuple((name, why) for name, why in wrong.items() if why)
    return Packed(tuple(name for name, why in wrong.items() if not why), left_out, _digest(path))


def unpack(path: Path, store: Path) -> Packed:
    """Add the runs of a pack to a store; a run that is there already stays as it is.

    Raises:
        UsageError: The file is no pack, or not a sound one. Runs that were complete before that was seen stay.
        OSError: The store cannot be written.
    """
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is no file.\nType: petl-bench store unpack FILE STORE")
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN as error:
        raise _refused(path, f"it is no zip archive ({error})") from None
    done, left_out = list[str](), list[tuple[str, str]]()
    with archive:
        runs = _runs_of(archive, path)
        Store(store).require_writable()
        for run, members in runs.items():
            if (store / run).exists():
                left_out.append((run, "there already"))
                continue
            with Store(store).writing(run) as folder:
                for name, digest in members.items():
                    _extract(archive, f"{run}/{name}", folder / name, digest, path)
                if why := wrong_in(folder, run):
                    raise _refused(path, f"{run}: {why}")
            done.append(run)
    return Packed(tuple(done), tuple(left_out), _digest(path))


def _runs_of(archive: zipfile.ZipFile, path: Path) -> dict[str, dict[str, str]]:
    """Return the digests of a pack's files by run and name, once its directory is what it says it is."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise _refused(path, f"it has {len(members)} members")
    largest = max((member.file_size for member in members), default=0)
    total = sum(member.file_size for member in members)
    if largest > MOST_BYTES or total > MOST_GROWTH * path.stat().st_size:
        raise _refused(path, f"it would grow to {total:,} bytes")
    try:
        content = json.loads(b"".join(_chunks(archive, LIST)))
        listed = {str(name): str(digest) for name, digest in content["files"].items()}
        is_known = content["format"] == FORMAT
    except (*BROKEN, TypeError, AttributeError, RecursionError) as error:
        raise _refused(path, f"its {LIST} cannot be read ({type(error).__name__})") from None
    if not is_known:
        raise _refused(path, "another version wrote it")
    if sorted(listed) != sorted(member.filename for member in members if member.filename != LIST):
        raise _refused(path, f"its members are not those that its {LIST} names")
    runs: dict[str, dict[str, str]] = {}
    for name, digest in listed.items():
        match = MEMBER.fullmatch(name)
        if match is None:
            raise _refused(path, f"{name[:100]!r} is no file of a run")
        runs.setdefault(match.group(1), {})[match.group(2)] = digest
    return runs


def _extract(archive: zipfile.ZipFile, member: str, target: Path, digest: str, path: Path) -> None:
    hashed = hashlib.sha256()
    try:
        with target.open("wb") as file:
            for chunk in _chunks(archive, member):
                hashed.update(chunk)
                file.write(chunk)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise _refused(path, f"{member} is damaged ({type(error).__name__})") from None
    if hashed.hexdigest() != digest:
        raise _refused(path, f"{member} is not what was packed")


def _chunks(archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    """Yield the content of a member, no more of it than its directory says."""
    left = archive.getinfo(member).file_size
    with archive.open(member) as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    is_text = name == LIST or name.endswith(TEXTS)
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{str(path)!r} is no sound pack of runs: {why}.\nType: petl-bench store pack STORE FILE to make one"
    )
