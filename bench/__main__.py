"""`python -m bench [NAME…] [--quick]`: run benches, print a table, write `bench/results/NAME.json` and docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import page
from bench.arena import page as arena_page
from bench.registry import BENCHES, Bench
from bench.results import FOLDER, Result, table, write


def main(words: Sequence[str] | None = None, *, benches: Mapping[str, Bench] = BENCHES, folder: Path = FOLDER) -> int:
    """Run the named benches, or all; 0 when every goal was reached, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure what the docs promise.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(benches)} (all)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, less sure")
    options = parser.parse_args(words)
    unknown = [name for name in options.names if name not in benches]
    if unknown:
        parser.error(f"no bench named {', '.join(unknown)}; there are {', '.join(benches)}")
    console = Console(highlight=False)
    found: list[tuple[str, Result]] = []
    for name in options.names or benches:
        console.print(f"{name} …", style="dim")
        results = benches[name](options.quick)
        write(name, results, folder)
        found += [(name, result) for result in results]
    if folder == FOLDER:
        page.update(benches)
        arena_page.update()
    console.print(table(found))
    missed = [result for _, result in found if not result.ok]
    if missed:
        console.print(f"{len(missed)} of {len(found)} miss their goal", style="red")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
