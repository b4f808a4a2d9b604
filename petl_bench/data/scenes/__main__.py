"""Print how many rooms a second one core renders, and write contact sheets: ``python -m petl_bench.data.scenes``."""

import argparse
import json
import sys
import time
from pathlib import Path

from petl_bench.data.scenes.digests import digests
from petl_bench.data.scenes.labels import FURTHER, LABELS
from petl_bench.data.scenes.render import DOMAINS, render
from petl_bench.data.scenes.sheet import contact_sheet, write_png


def rooms_per_second(domain: str, size: int, count: int) -> dict[int, float]:
    """The rates with the first labels and with all, by their number: of the fastest of three tries of each room.

    Seconds are those of the processor, and the two take turns: what else the machine does hardly enters.
    """
    sets = (tuple(LABELS[domain]), (*LABELS[domain], *FURTHER))
    seconds = dict.fromkeys(map(len, sets), 0.0)
    for index in range(count):
        fastest = dict.fromkeys(seconds, float("inf"))
        for _ in range(3):
            for labels in sets:
                start = time.process_time()
                render(domain, "train", index, size, labels)
                fastest[len(labels)] = min(fastest[len(labels)], time.process_time() - start)
        seconds = {labels: seconds[labels] + fastest[labels] for labels in seconds}
    return {labels: count / total for labels, total in seconds.items()}


def main() -> None:
    """Measure both domains and write one sheet for each."""
    parser = argparse.ArgumentParser(prog="python -m petl_bench.data.scenes", description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="pixels (default: 64)")
    parser.add_argument("--count", type=int, default=100, help="rooms to time (default: 100)")
    parser.add_argument("--sheet", type=Path, default=Path("scenes-sheets"), help="folder for the contact sheets")
    parser.add_argument("--rows", type=int, default=8, help="pictures a sheet (default: 8)")
    parser.add_argument("--first", type=int, default=0, help="index of a sheet's first picture (default: 0)")
    parser.add_argument("--digests", action="store_true", help="print the digests of some pictures as JSON, no more")
    args = parser.parse_args()
    if args.digests:
        sys.stdout.write(json.dumps(digests(), indent=1) + "\n")
        return
    args.sheet.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        labels = (*LABELS[domain], *FURTHER)
        pictures = [render(domain, "train", args.first + i, args.size, labels) for i in range(args.rows)]
        path = args.sheet / f"{domain}.png"
        write_png(path, contact_sheet(pictures, zoom=2))
        print(f"{domain}: {path}")
    for domain in DOMAINS if args.count else ():
        for labels, rate in rooms_per_second(domain, args.size, args.count).items():
            print(f"{domain}: {rate:.1f} rooms/s with {labels} labels at {args.size} px, one process")


if __name__ == "__main__":
    main()
