"""saq on PostgreSQL or Redis."""

from __future__ import annotations

import psycopg
from saq import Queue, Worker

from bench.peers.protocol import Job, is_worker, measure, own_workers, run, spread, workers
from bench.peers.tally import Tally

PROCESSES = 1
CONCURRENCY = 50
POOL = 20

job = Job.from_environment()
tally = Tally(job.tally)


def queue() -> Queue:
    """Return the queue, with a pool that is large enough for the concurrency."""
    if job.variant == "postgres":
        return Queue.from_url(job.url, min_size=POOL, max_size=POOL)
    return Queue.from_url(job.url, max_concurrent_ops=job.in_flight)


async def noop(_: object) -> None:
    """Do nothing."""
    tally.add()


async def work() -> None:
    """Run tasks until ended."""
    tasks = queue()
    await tasks.connect()
    await Worker(tasks, [("noop", noop)], concurrency=CONCURRENCY).start()


async def main() -> None:
    """Measure."""
    tasks = queue()
    await tasks.connect()

    async def create(count: int) -> None:
        await spread(count, job.in_flight, lambda: tasks.enqueue("noop"))

    with workers(*own_workers(__spec__.name, PROCESSES)):
        if job.variant != "postgres":
            await measure(job, create, processes=PROCESSES)
            return
        async with await psycopg.AsyncConnection.connect(job.url, autocommit=True) as reader:

            async def recorded() -> int:
                cursor = await reader.execute(
                    "SELECT count(*) FROM saq_jobs WHERE status = 'complete'"
                )
                return int((await cursor.fetchone())[0])

            await measure(job, create, recorded, processes=PROCESSES)
    await tasks.disconnect()


if __name__ == "__main__":
    run(work() if is_worker() else main())
