"""Many processes write many records while others read: every record can be read at every moment."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_store import record

WRITERS, RECORDS, READERS = 16, 100, 4
WRITER = """
import sys
from pathlib import Path
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store, write_record
folder, writer, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
record = RunRecord.model_validate_json(sys.stdin.read())
for one in range(number):
    # half of the writers share their names with another one, and write the same run again
    mine = record.model_copy(update={"fingerprint": f"{writer // 2 * number + one:064d}"[::-1]})
    with Store(folder).writing(mine.folder_name) as scratch:
        (scratch / "scores.npz").write_bytes(b"x" * 1000)
        write_record(scratch, mine)
"""
READER = """
import sys
from pathlib import Path
from petl_bench.records.store import RECORD, read_record
folder, seen = Path(sys.argv[1]), 0
while not (folder / "over").exists():
    for path in folder.iterdir():
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            text = (path / RECORD).read_text()
        except FileNotFoundError:
            continue  # between an older folder and the one that takes its place
        assert text.endswith("}\\n"), f"half a record in {path.name}"
        seen += 1
print(seen)
"""


@pytest.mark.slow
def test_sixteen_writers_and_four_readers_never_see_half_a_record(tmp_path: Path) -> None:
    text, store = record().model_dump_json(), tmp_path / "store"
    store.mkdir()
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(READERS)
    ]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store), str(writer), str(RECORDS)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for writer in range(WRITERS)
    ]
    said = [writer.communicate(text)[1] for writer in writers]
    (store / "over").touch()
    heard = [reader.communicate() for reader in readers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, said
    assert [reader.returncode for reader in readers] == [0] * READERS, heard
    assert all(int(out) for out, _ in heard)
    folders = [path for path in store.iterdir() if path.is_dir()]
    assert len(folders) == WRITERS // 2 * RECORDS
    assert [path.name for path in folders if path.name.startswith(".")] == []
