"""Throw faults at runs for some minutes, then audit: ``python tests/soak/soak.py --minutes 20 --seed 0``.

Runs of smoke's length are begun again and again in processes that are killed, terminated, doubled, robbed of their
disk, and whose files are damaged, until each is finished. What is finished is compared with undisturbed runs, to the
last bit, after every fault. Exit 1 if anything was lost, wrong or repeated that need not be.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, merge
from petl_bench.engine.draft import identified
from petl_bench.engine.run import run
from petl_bench.errors import UsageError
from petl_bench.records.run import RunRecord
from petl_bench.records.store import CURVE, PICTURE, SCORES, STATISTICS, WEIGHTS, Store
from petl_bench.records.working import CHECKPOINT

STEPS = 12
METHODS = ("vmt", "lora", "decoders", "mtlora", "full")
MOST_FAULTS = 12  # of a run, which is then left in peace
FAULTS = ("kill", "terminate", "interrupt", "double", "damage", "small files", "full disk")


def configured(name: str, **runtime: object) -> RunConfig:
    """Return a run of a method."""
    settings = {
        "method": {"name": name},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32},
        "decoder": {"name": "segformer", "width": 16},
        "train": {"steps": STEPS},
        "budget": "smoke",
        "tasks": 2,
        "runtime": {"device": "cpu", "threads": 1},
    }
    return plan.plan(merge(settings, {"runtime": runtime}), plugins.vocabulary)


@dataclass
class Tally:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    steps_taken: int = 0
    steps_robbed: int = 0
    steps_needed: int = 0
    finished: int = 0
    wrong: list[str] = field(default_factory=list)


class Child:
    """A process that executes one run, forked from this one, which never computes anything itself."""

    def __init__(self, config: RunConfig, store: Path, log: Path, *, most_bytes: int | None = None) -> None:
        self.is_robbed = most_bytes is not None  # it can hardly save, so that what it does is mostly done again
        self._steps, write = os.pipe()
        signals = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # a signal must not unwind this process's frames in the child
        self.pid = os.fork()
        if self.pid == 0:
            for number in signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            os.close(self._steps)
            code = 5
            try:
                code = _execute(config, store, log, write, most_bytes)
            finally:
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        os.close(write)

    def end(self) -> tuple[int, int]:
        """Wait for it; return its status as of ``os.waitpid`` and the steps that it took."""
        steps = 0
        while chunk := os.read(self._steps, 65536):
            steps += len(chunk)
        os.close(self._steps)
        return os.waitpid(self.pid, 0)[1], steps


def _execute(config: RunConfig, store: Path, log: Path, steps: int, most_bytes: int | None) -> int:
    file = os.open(log if most_bytes is None else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    def watch(phase: str, *_: object) -> None:
        if phase == "train":
            os.write(steps, b".")

    try:
        outcome = run(config, Store(store), watch, say=lambda words: print("said:", words, flush=True))
    except UsageError as error:
        print("refused:", error, flush=True)
        return 2
    except (SystemExit, KeyboardInterrupt):
        return 3
    except BaseException as error:  # a traceback is a finding
        print("traceback:", repr(error), flush=True)
        return 4
    return 0 if outcome.record.status == "finished" else 1


def differs(folder: Path, reference: Path) -> str:
    """Return what of a finished run's folder is not as in the undisturbed one; "" if all is the same."""
    try:
        one = RunRecord.model_validate_json((folder / "record.json").read_text())
        other = RunRecord.model_validate_json((reference / "record.json").read_text())
    except (OSError, ValueError) as error:
        return f"its record cannot be read: {error}"
    if one.status != "finished":
        return f"its record says {one.status}: {(one.error or '').strip().splitlines()[-1:]}"
    if (one.metrics, one.history) != (other.metrics, other.history):
        return "its metrics or its curve"
    for name in (WEIGHTS, SCORES, STATISTICS, CURVE, PICTURE):
        if (folder / name).read_bytes() != (reference / name).read_bytes():
            return name
    return ""


def damage(working: Path, draw: random.Random) -> bool:
    """Damage the state of a run that is broken off; return whether there was one."""
    path = working / CHECKPOINT
    if not path.exists():
        return False
    content = path.read_bytes()
    kind = draw.randrange(4)
    cut = draw.randrange(len(content) + 1)
    path.write_bytes([content[:cut], b"", content[:cut] + bytes(len(content) - cut), os.urandom(1000)][kind])
    return True


class Soak:
    """One session of faults."""

    def __init__(self, folder: Path, seed: int, faults: Sequence[str] = FAULTS) -> None:
        self.folder, self.faults, self.draw, self.tally = folder, faults, random.Random(seed), Tally()
        self.log = folder / "log"
        self.references: dict[str, tuple[Path, float]] = {}
        for name in METHODS:
            began = time.monotonic()
            status, steps = Child(configured(name), folder / "undisturbed", self.log).end()
            assert (status, steps) == (0, STEPS), f"{name}: {self.log.read_text()}"
            self.references[name] = (self.path(folder / "undisturbed", name), time.monotonic() - began)

    @staticmethod
    def path(store: Path, name: str) -> Path:
        """Return the folder of a run."""
        return store / identified(configured(name)).folder_name

    def round(self, number: int) -> None:
        """Disturb one run until it is finished, then leave it alone and audit."""
        name = self.draw.choice(METHODS)
        store = self.folder / f"round-{number}"
        store.mkdir()
        is_mounted = self.draw.random() < 0.2 and _mount(store)
        try:
            for _ in range(self.draw.randrange(1, MOST_FAULTS + 1)):
                self._fault(name, store, self.draw.choice(self.faults))
                if self._is_there(name, store):
                    break
            self._attempt(Child(configured(name), store, self.log))
            self._audit(number, name, store)
        finally:
            if is_mounted:
                subprocess.run(["umount", str(store)], check=True)
            shutil.rmtree(store, ignore_errors=True)

    def _fault(self, name: str, store: Path, fault: str) -> None:
        draw = self.draw
        _, seconds = self.references[name]
        workers = 0 if fault == "small files" else draw.choice((0, 0, 0, 2))  # shared memory counts as files
        config = configured(name, checkpoint_steps=draw.randrange(1, 4), workers=workers)
        working = store / f".{self.path(store, name).name}"
        if fault == "damage" and not damage(working, draw):
            fault = "kill"
        self.tally.faults[fault] += 1
        if fault == "small files":
            self._attempt(Child(config, store, self.log, most_bytes=draw.randrange(1, 300_000)))
        elif fault == "full disk":
            self._full_disk(config, store)
        elif fault in ("kill", "terminate", "interrupt", "double"):
            children = [Child(config, store, self.log) for _ in range(2 if fault == "double" else 1)]
            number = {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}.get(fault, signal.SIGKILL)
            for child in children:
                time.sleep(draw.uniform(0, 1.2 * seconds))
                try:
                    os.kill(child.pid, number)
                except ProcessLookupError:
                    continue
            for child in children:
                self._attempt(child)
        if self._is_there(name, store):
            self._compare(name, store, f"after {fault}")

    def _full_disk(self, config: RunConfig, store: Path) -> None:
        ballast = store / "ballast"
        if os.path.ismount(store):
            free = shutil.disk_usage(store).free
            ballast.write_bytes(bytes(max(0, free - self.draw.randrange(1, 400_000))))
        child = Child(config, store, self.log)
        child.is_robbed = os.path.ismount(store)
        self._attempt(child)
        ballast.unlink(missing_ok=True)

    def _attempt(self, child: Child) -> None:
        status, steps = child.end()
        self.tally.steps_taken += steps
        self.tally.steps_robbed += steps * child.is_robbed
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) > 3:
            self.tally.wrong.append("a traceback, see the log")

    def _is_there(self, name: str, store: Path) -> bool:
        return Store(store).find(self.path(store, name).name) is not None

    def _compare(self, name: str, store: Path, when: str) -> None:
        difference = differs(self.path(store, name), self.references[name][0])
        if difference:
            self.tally.wrong.append(f"{store.name} {name} {when}: {difference}")

    def _audit(self, number: int, name: str, store: Path) -> None:
        self.tally.finished += 1
        self.tally.steps_needed += STEPS
        self._compare(name, store, "at the end")
        left = {path.name for path in store.iterdir()} - {self.path(store, name).name}
        inside = {path.name for hidden in left for path in (store / hidden).iterdir()}
        if inside - {"refused.safetensors"}:
            self.tally.wrong.append(f"round {number} left {sorted(inside)}")


def _mount(folder: Path) -> bool:
    """Put a small file system of its own under a folder, where this machine lets us."""
    command = ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Soak, audit and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), options.seed, options.faults)
        end, rounds = time.monotonic() + 60 * options.minutes, 0
        while time.monotonic() < end and rounds < options.rounds:
            soak.round(rounds)
            rounds += 1
        tally = soak.tally
        lines = soak.log.read_text(errors="replace").splitlines()
    words = Counter(line.split(":")[1].strip()[:24] for line in lines if line.startswith("said:"))
    print(f"{rounds} runs, {sum(tally.faults.values())} faults: {dict(tally.faults)}")
    print(f"said: {dict(words.most_common(8))}")
    again = 100 * (tally.steps_taken / max(1, tally.steps_needed) - 1)
    print(f"steps taken {tally.steps_taken}, needed {tally.steps_needed}: {again:.1f} % were repeated;")
    print(f"{tally.steps_robbed} of them were taken without room to save")
    print(f"lost or wrong: {len(tally.wrong)}")
    for line in tally.wrong:
        print(f"- {line}")
    for line in lines:
        if line.startswith("traceback:"):
            print(line)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
