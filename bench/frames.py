"""Draw what training needs of collected episodes: `python -m bench.frames --data data/pocket --rounds 0 1`.

Writes a folder of arrays for each task and round, see `bench.demos.cache`, and skips those that are up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.demos.cache import Cache, write
from bench.demos.plan import select, terms
from bench.demos.workers import available, spread
from bench.errors import BenchError, UsageError
from envs.libero.suite import SUITES
from envs.types import EnvironmentError_


def draw(caches: Sequence[Cache], workers: int) -> list[Path]:
    """Make every folder that is not up to date; returns all of them. A cache without decisions has none."""
    left = [cache for cache in caches if not cache.done()]
    spread(write, {f"round {cache.task.round} {cache.task.name}": cache for cache in left},
           lambda cache: len(cache.chosen()), workers, "ep")
    return [cache.task.frames for cache in caches]


def caches(data: Path, rounds: Sequence[int], suites: Sequence[str] | None, only_successful: bool,
           every: int) -> list[Cache]:
    """A cache for each task that has episodes to draw. Raises `UsageError` for a round that is not there."""
    found = []
    for number in rounds:
        terms(data, number)
        found += [Cache(task, only_successful, every) for task in select(data, number, suites or SUITES)]
    found = [cache for cache in found if cache.chosen()]
    if not found:
        raise UsageError(f"{data} has no episodes to draw of suites {', '.join(suites or SUITES)} in rounds "
                         f"{', '.join(map(str, rounds))}; make pocket-data collects them")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"), help="folder of all rounds")
    parser.add_argument("--rounds", type=int, nargs="+", default=[0])
    parser.add_argument("--suites", nargs="*", help="names (all that were collected)")
    parser.add_argument("--only-successful", action=argparse.BooleanOptionalAction, default=True,
                        help="leave out what the expert drove without reaching the goal")
    parser.add_argument("--every", type=int, default=1, help="keep each n-th decision")
    parser.add_argument("--workers", type=int, default=available(), help="processes (all cores)")
    args = parser.parse_args(argv)
    try:
        if args.every < 1 or args.workers < 1:
            raise UsageError(f"every {args.every} and workers {args.workers} must be 1 or more")
        draw(caches(args.data, args.rounds, args.suites, args.only_successful, args.every), args.workers)
    except (BenchError, EnvironmentError_) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
