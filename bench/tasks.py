"""Tasks a second from creation to recorded completion, beside other libraries.

Run by `python -m bench.tasks`. It installs the libraries, runs PostgreSQL, Redis and a mesh,
and measures the contenders in turn, round after round; each store runs only while its
contenders are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

from bench.contenders import CONTENDERS, MESH, POSTGRES, REDIS, REDIS_FSYNC, Contender
from bench.mesh_store import MeshStore
from bench.runs import RunFailed, Runs
from bench.scratch import CACHE, scratch
from bench.stores import NoRedis, PostgresStore, RedisStore, Store
from bench.table import table
from bench.virtualenvs import InstallError, VirtualEnvironments


class Benchmark:
    """All rounds, and what came of them."""

    def __init__(self, contenders: Sequence[Contender], runs: Runs, tasks: int) -> None:
        self.rates: dict[Contender, list[float]] = {each: [] for each in contenders}
        self.notes: dict[Contender, str] = {}
        self.descriptions: dict[str, str] = {}
        self._runs = runs
        self._tasks = tasks

    async def round(self, stores: dict[str, Store]) -> None:
        """Measure each contender once, store by store."""
        by_store: dict[str, list[Contender]] = defaultdict(list)
        for contender in self.rates:
            if contender not in self.notes:
                by_store[contender.store].append(contender)
        for name, contenders in by_store.items():
            async with stores[name].running() as description:
                self.descriptions[name] = description
                for contender in contenders:
                    await self._measure(contender, stores[name])

    def install(self) -> None:
        """Install what is missing; a contender that can't be is left out, with a note."""
        for contender in self.rates:
            try:
                self._runs.python(contender)
            except InstallError as error:
                self._leave_out(contender, f"not installed: {error}")

    def leave_out_others(self, stores: Container[str], why: str) -> None:
        """Leave out whoever's store isn't among these."""
        for contender in self.rates:
            if contender.store not in stores:
                self._leave_out(contender, why)

    async def _measure(self, contender: Contender, store: Store) -> None:
        async with store.emptied() as server:
            try:
                rate = await self._runs.rate(contender, server, self._tasks)
            except RunFailed as failure:
                self._leave_out(contender, str(failure))
                return
        self.rates[contender].append(rate)
        print(f"{contender.name:<26} {rate:>8,.0f} tasks/s", file=sys.stderr, flush=True)

    def _leave_out(self, contender: Contender, why: str) -> None:
        self.notes[contender] = why
        print(f"{contender.name}: {why}", file=sys.stderr, flush=True)


async def run(
    benchmark: Benchmark, environments: VirtualEnvironments, cache: Path, rounds: int
) -> None:
    """Run all rounds, with data on the disk that holds the cache."""
    benchmark.install()
    with scratch(cache) as data:
        stores: dict[str, Store] = {
            MESH: MeshStore(data / "mesh"),
            POSTGRES: PostgresStore(data / "postgres"),
        }
        try:
            stores[REDIS] = RedisStore(data / "redis", environments, fsync=False)
            stores[REDIS_FSYNC] = RedisStore(data / "redis", environments, fsync=True)
        except NoRedis as error:
            benchmark.leave_out_others(stores, str(error))
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            await benchmark.round(stores)


def main() -> None:
    """Measure, and print one table."""
    chosen = _arguments()
    environments = VirtualEnvironments(chosen.cache / "environments")
    benchmark = Benchmark(chosen.only, Runs(environments, chosen.cache / "logs"), chosen.tasks)
    asyncio.run(run(benchmark, environments, chosen.cache, chosen.rounds))
    print(
        f"{chosen.tasks:,} no-op tasks each, medians of {chosen.rounds} rounds, "
        f"on {os.cpu_count()} CPUs"
    )
    for name, description in benchmark.descriptions.items():
        print(f"{name}: {description}")
    print("\n" + table(benchmark.rates, benchmark.notes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.tasks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000, help="in one run; hundreds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=_named, default=CONTENDERS, help="names or beginnings of them, with commas"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="for environments, data, logs")
    return parser.parse_args()


def _named(beginnings: str) -> tuple[Contender, ...]:
    wanted = tuple(each.strip() for each in beginnings.split(","))
    chosen = tuple(each for each in CONTENDERS if each.name.startswith(wanted))
    if not chosen:
        names = ", ".join(each.name for each in CONTENDERS)
        raise argparse.ArgumentTypeError(f"nobody is named so; there are {names}")
    return chosen


if __name__ == "__main__":
    main()
