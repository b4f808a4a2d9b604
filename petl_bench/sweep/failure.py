"""The record of a run whose process left none."""

from pathlib import Path

import torch

from petl_bench.engine.draft import draft, identified
from petl_bench.engine.keep import silent
from petl_bench.records.claims import claimed
from petl_bench.records.store import Store, write_record
from petl_bench.sweep.job import Job

TAIL = 4000  # characters of the log that the record keeps


def record_failure(store: Store, job: Job, why: str, log: Path) -> None:
    """Write a failed record with the end of the log, unless the run is finished after all."""
    with claimed(store.working(job.name), say=silent):
        if store.find(job.name) is not None:
            return
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        tail = said[-TAIL:].rpartition("\n--- ")[2]
        device = torch.device(job.config.runtime.device if job.config.runtime.device != "auto" else "cpu")
        record = draft(identified(job.config), device).model_copy(update={"error": f"{tail.strip()}\n{why}"})
        with store.writing(job.name) as folder:
            write_record(folder, record)
