"""Collect one round of training episodes: `make pocket-data`, or `python -m bench.collect --round 0 --episodes 40`.

Episodes are a function of suite, task, round, number and driver, whatever the number of workers. A file that exists is
not made again, so the same command goes on after an interruption; at the end all finished episodes of the round are
written as LeRobot data sets, one a suite.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.demos import drivers, parts
from bench.demos.plan import ASSETS, RoundTerms, Task, agree, select
from bench.demos.workers import available, spread
from bench.errors import BenchError, UsageError
from envs.libero import env as libero
from envs.types import EnvironmentError_

BETA = 0.3
"""Share of a policy's decisions that the expert drives."""


@dataclass(frozen=True)
class Order:
    """What one worker does: the missing episodes of a task."""

    task: Task
    """The task."""
    episodes: int
    """How many there should be."""
    driver: str
    """As the user typed it."""
    terms: RoundTerms
    """Of the round."""

    def missing(self) -> list[int]:
        """Numbers of the episodes that have no file."""
        return [number for number in range(self.episodes) if not self.task.part(number).is_file()]


def collect(orders: Sequence[Order], workers: int) -> None:
    """Make every missing episode of the orders, which are all of one round."""
    first = orders[0]
    agree(first.task.data, first.task.round, first.terms)
    left = [order for order in orders if order.missing()]
    spread(collect_task, {order.task.name: order for order in left}, lambda order: len(order.missing()), workers, "ep")


def collect_task(order: Order) -> Iterator[str | None]:
    """Make the missing episodes of one task; yields None after each and then a line about all of them."""
    from bench.demos.episode import TRAINED_ON, play

    task, driver = order.task, drivers.load(order.driver)
    size = 0 if driver is None else TRAINED_ON.image_size
    env = libero.open_task(task.suite, task.index, size, ASSETS, privileged=True)
    try:
        for number in order.missing():
            terms = order.terms
            episode = play(env, number, task.seed(number), driver, terms.driver, terms.beta, terms.assets)
            parts.save(task.part(number), episode)
            yield None
    finally:
        env.close()
    facts = [parts.facts(path) for path in task.collected()]
    reached, steps = sum(fact["success"] for fact in facts), sum(fact["length"] for fact in facts) / len(facts)
    yield (f"round {task.round} {task.suite} task {task.index}: {reached}/{len(facts)} reached the goal, "
           f"{steps:.0f} steps on average")


def orders_of(args: argparse.Namespace) -> list[Order]:
    """What the command line asks for. Raises `UsageError` for anything that is not legal."""
    tasks = select(args.data, args.round, args.suites.replace(",", " ").split(), args.tasks)
    if args.episodes < 1 or args.workers < 1 or not 0.0 <= args.beta <= 1.0:
        raise UsageError(f"episodes {args.episodes} and workers {args.workers} must be 1 or more, "
                         f"beta {args.beta} within 0..1")
    name = drivers.describe(args.driver)
    beta = args.beta if args.driver != drivers.EXPERT else 1.0
    terms = RoundTerms(name, beta, libero.assets_stamp(ASSETS)["digest"])
    return [Order(task, args.episodes, args.driver, terms) for task in tasks]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"), help="folder of all rounds")
    parser.add_argument("--suites", default="libero_object", help="names, separated by blanks or commas")
    parser.add_argument("--round", type=int, default=0, help="number of the round")
    parser.add_argument("--episodes", type=int, default=40, help="per task")
    parser.add_argument("--tasks", type=int, nargs="*", help="task indices (all)")
    parser.add_argument("--driver", default=drivers.EXPERT, help="expert, a policy, or POLICY:FOLDER for a checkpoint")
    parser.add_argument("--beta", type=float, default=BETA, help="share of a policy's decisions that the expert drives")
    parser.add_argument("--workers", type=int, default=available(), help="processes (all cores)")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=True, help="draw films as well")
    args = parser.parse_args(argv)
    try:
        orders = orders_of(args)
        collect(orders, args.workers)
        from bench.demos.lerobot import assemble

        assemble([order.task for order in orders], args.video, args.workers)
    except (BenchError, EnvironmentError_) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
