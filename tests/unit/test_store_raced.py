"""Two processes that write the same run at once leave one of the two, whole."""

import subprocess
import sys
from pathlib import Path

ROUNDS = 150
WRITER = """
import sys
from pathlib import Path
from petl_bench.records.store import Store
folder, writer, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    with Store(folder).writing("run") as scratch:
        for name in ("one", "two"):
            (scratch / name).write_text(f"{writer} {number}")
"""


def test_two_processes_that_write_one_run_at_once_leave_a_whole_one(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), writer, str(ROUNDS)], stderr=subprocess.PIPE, text=True
        )
        for writer in ("a", "b")
    ]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    one, two = ((tmp_path / "run" / name).read_text() for name in ("one", "two"))
    assert one == two
    assert one.split()[1] == str(ROUNDS - 1)
