"""pgqueuer on PostgreSQL, all its tables logged: `single` or `bulk` enqueues of 1,000."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.queries import Queries

from bench.peers.protocol import Job, is_worker, measure, own_workers, run, spread, workers
from bench.peers.tally import Tally

PROCESSES = 1
POOL = 20
FETCH = 100
BATCH = 1000

job = Job.from_environment()
tally = Tally(job.tally)


async def work() -> None:
    """Run tasks until ended."""
    async with asyncpg.create_pool(job.url, min_size=4, max_size=POOL) as pool:
        queuer = PgQueuer.from_asyncpg_pool(pool)

        @queuer.entrypoint("noop")
        async def noop(_: object) -> None:
            tally.add()

        await queuer.run(
            batch_size=FETCH,
            dequeue_timeout=timedelta(seconds=1),
            log_aggregation_interval=timedelta(0),
        )


async def main() -> None:
    """Measure."""
    async with asyncpg.create_pool(job.url, min_size=POOL, max_size=POOL) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        await queries.install()

        async def create(count: int) -> None:
            if job.variant == "bulk":
                for first in range(0, count, BATCH):
                    size = min(BATCH, count - first)
                    await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
            else:
                await spread(count, job.in_flight, lambda: queries.enqueue("noop", None))

        async def recorded() -> int:
            done = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
            return int(await pool.fetchval(done))

        with workers(*own_workers(__spec__.name, PROCESSES)):
            await measure(job, create, recorded, processes=PROCESSES)


if __name__ == "__main__":
    run(work() if is_worker() else main())
