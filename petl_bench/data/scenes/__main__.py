"""Print how many rooms a second one core renders, and write contact sheets: ``python -m petl_bench.data.scenes``."""

import argparse
import json
import sys
import time
from pathlib import Path

from petl_bench.data.scenes.digests import digests
from petl_bench.data.scenes.render import DOMAINS, render
from petl_bench.data.scenes.sheet import contact_sheet, write_png


def rooms_per_second(domain: str, size: int, count: int) -> float:
    """The rate of the fastest of five interleaved shares of ``count`` rooms, after a warm-up."""
    render(domain, "train", 0, size)
    best = 0.0
    for share in range(5):
        indices = range(share, count, 5)
        start = time.perf_counter()
        for index in indices:
            render(domain, "train", index, size)
        best = max(best, len(indices) / (time.perf_counter() - start))
    return best


def main() -> None:
    """Measure both domains and write one sheet for each."""
    parser = argparse.ArgumentParser(prog="python -m petl_bench.data.scenes", description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="pixels (default: 64)")
    parser.add_argument("--count", type=int, default=200, help="rooms to time (default: 200)")
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
        pictures = [render(domain, "train", args.first + i, args.size) for i in range(args.rows)]
        path = args.sheet / f"{domain}.png"
        write_png(path, contact_sheet(pictures, zoom=2))
        print(f"{domain}: {path}")
    for domain in DOMAINS if args.count else ():
        rate = rooms_per_second(domain, args.size, args.count)
        print(f"{domain}: {rate:.1f} rooms/s at {args.size} px, one process")


if __name__ == "__main__":
    main()
