"""One process at a time works in a folder; one that is gone gives way, and it is said."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petl_bench.records.claims import ClaimedError, ClaimLostError, claimed, look
from petl_bench.records.owner import Owner, myself

WORKER = """
import os, sys, time
from pathlib import Path
from petl_bench.records.claims import claimed
folder, inside, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for _ in range(rounds):
    with claimed(folder, say=lambda words: None, lease_seconds=2):
        mine = os.open(inside, os.O_CREAT | os.O_EXCL)  # fails if anybody else is inside
        time.sleep(0.002)
        os.close(mine)
        os.unlink(inside)
    time.sleep(0.001)
"""
HOLDER = """
import sys, time
from pathlib import Path
from petl_bench.records.claims import claimed
with claimed(Path(sys.argv[1]), say=print):
    print("in", flush=True)
    time.sleep(60)
"""


def silent(words: str) -> None:
    """Say nothing."""


def elsewhere(folder: Path, number: int = 1) -> Owner:
    """Leave the claim of a process on another machine."""
    owner = myself().model_copy(update={"host": "elsewhere", "place": "elsewhere", "pid": 7, "token": "theirs"})
    folder.mkdir(exist_ok=True)
    (folder / f"claim-{number}.json").write_text(owner.model_dump_json())
    return owner


def test_a_claim_names_its_process_and_is_gone_with_its_folder_after_it(tmp_path: Path) -> None:
    folder = tmp_path / ".run"
    with claimed(folder, say=silent):
        seen = look(folder)
        assert seen is not None
        assert (seen.owner.host, seen.owner.pid) == (socket.gethostname(), os.getpid())
        assert seen.is_fresh
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_stays(tmp_path: Path) -> None:
    with claimed(tmp_path / ".run", say=silent):
        (tmp_path / ".run" / "checkpoint").touch()
    assert [path.name for path in (tmp_path / ".run").iterdir()] == ["checkpoint"]


def gone(folder: Path, number: int) -> None:
    """Leave the claim of a process of this machine that is no more."""
    owner = myself().model_copy(update={"started": "0", "token": f"gone-{number}"})
    folder.mkdir(exist_ok=True)
    (folder / f"claim-{number}.json").write_text(owner.model_dump_json())


@pytest.mark.parametrize("left", [(1, 2), (2, 5), (1, 2, 3)])
def test_who_was_killed_while_taking_over_leaves_nothing_that_stops_the_next(
    left: tuple[int, ...], tmp_path: Path
) -> None:
    for number in left:
        gone(tmp_path / ".run", number)
    said: list[str] = []
    with claimed(tmp_path / ".run", say=said.append):
        assert [path.name for path in (tmp_path / ".run").iterdir()] == [f"claim-{left[-1] + 1}.json"]
    assert len(said) == 1
    assert "took over" in said[0]


def test_a_claim_that_is_held_is_respected_below_one_of_a_process_that_is_gone(tmp_path: Path) -> None:
    with claimed(tmp_path / ".run", say=silent):
        gone(tmp_path / ".run", 2)
        with pytest.raises(ClaimedError), claimed(tmp_path / ".run", say=silent, wait=False):
            pass


def test_a_second_process_is_told_whose_it_is(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / ".run", say=silent),
        pytest.raises(ClaimedError, match=f"run is being run by process {os.getpid()} on"),
        claimed(tmp_path / ".run", say=silent, wait=False),
    ):
        pass


def test_many_processes_through_two_paths_of_one_folder_are_never_inside_together(tmp_path: Path) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    store.mkdir()
    other.symlink_to(store)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path / ".run"), str(tmp_path / "inside"), "25"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in (store, other, store, other)
    ]
    said = [worker.communicate(timeout=100)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, said
    assert list(store.iterdir()) == []


def test_the_claim_of_a_killed_process_is_taken_over_at_once_and_said(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / ".run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    with pytest.raises(ClaimedError), claimed(tmp_path / ".run", say=silent, wait=False):
        pass
    holder.kill()  # not waited for: a zombie is no process either
    said: list[str] = []
    start = time.monotonic()
    while look(tmp_path / ".run").is_fresh and time.monotonic() - start < 10:  # pyright: ignore[reportOptionalMemberAccess]
        time.sleep(0.01)
    with claimed(tmp_path / ".run", say=said.append, wait=False):
        assert len(said) == 1
        assert said[0].startswith(f"took over run from process {holder.pid} on {socket.gethostname()}")
    holder.wait()


def test_a_number_of_a_process_that_came_again_is_not_that_process(tmp_path: Path) -> None:
    (tmp_path / ".run").mkdir()
    older = myself().model_copy(update={"started": "1"})
    (tmp_path / ".run" / "claim-1.json").write_text(older.model_dump_json())
    with claimed(tmp_path / ".run", say=silent, wait=False) as claim:
        assert claim.number == 2


def test_a_claim_of_another_machine_is_stale_after_a_lease_of_silence_and_not_before(tmp_path: Path) -> None:
    elsewhere(tmp_path / ".run")
    said: list[str] = []
    start = time.monotonic()
    with claimed(tmp_path / ".run", say=said.append, lease_seconds=0.5):
        assert time.monotonic() - start > 0.5
    assert "waiting for it" in said[0]
    assert "process 7 on elsewhere" in said[0]
    assert "took over" in said[1]


def test_a_claim_that_is_renewed_is_waited_for_however_the_clocks_stand(tmp_path: Path) -> None:
    elsewhere(tmp_path / ".run")
    path = tmp_path / ".run" / "claim-1.json"
    renew = (
        "import os, sys, time\n"
        "for beat in range(15):\n"
        "    os.utime(sys.argv[1], (1000 - beat, 1000 - beat))  # years ago, and going backwards\n"
        "    time.sleep(0.1)\n"
        "os.unlink(sys.argv[1])\n"
    )
    renewing = subprocess.Popen([sys.executable, "-c", renew, str(path)])
    said: list[str] = []
    start = time.monotonic()
    with claimed(tmp_path / ".run", say=said.append, lease_seconds=0.5):
        assert time.monotonic() - start > 1.2
    assert renewing.wait() == 0
    assert len(said) == 1, "it was released, not taken over"


def test_a_claim_that_was_taken_over_is_lost(tmp_path: Path) -> None:
    with claimed(tmp_path / ".run", say=silent) as claim:
        claim.require()
        elsewhere(tmp_path / ".run", 2)
        with pytest.raises(ClaimLostError, match="process 7 on elsewhere"):
            claim.require()
    assert (tmp_path / ".run" / "claim-2.json").exists(), "a lost claim removed that of its successor"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_claim_that_cannot_be_read_counts_until_it_was_silent_for_a_lease(text: str, tmp_path: Path) -> None:
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "claim-1.json").write_text(text)
    with pytest.raises(ClaimedError, match="an unknown machine"), claimed(tmp_path / ".run", say=silent, wait=False):
        pass
    with claimed(tmp_path / ".run", say=silent, lease_seconds=0.2) as claim:
        assert claim.number == 2
