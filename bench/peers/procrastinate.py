"""procrastinate on PostgreSQL: `single` defers, or `bulk` defers of 100."""

from __future__ import annotations

import procrastinate
import psycopg

from bench.peers.protocol import Job, is_worker, measure, own_workers, run, spread, workers
from bench.peers.tally import Tally

PROCESSES = 1
CONCURRENCY = 50
POOL = 20
BATCH = 100

job = Job.from_environment()
tally = Tally(job.tally)
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=job.url, min_size=POOL, max_size=POOL)
)


@app.task(name="noop")
async def noop() -> None:
    """Do nothing."""
    tally.add()


async def work() -> None:
    """Run tasks until ended."""
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY, fetch_job_polling_interval=0.1)


async def create(count: int) -> None:
    """Create tasks."""
    if job.variant == "bulk":
        for _ in range(count // BATCH):
            await noop.batch_defer_async(*({} for _ in range(BATCH)))
    else:
        await spread(count, job.in_flight, noop.defer_async)


async def main() -> None:
    """Measure."""
    async with (
        app.open_async(),
        await psycopg.AsyncConnection.connect(job.url, autocommit=True) as reader,
    ):
        await app.schema_manager.apply_schema_async()

        async def recorded() -> int:
            cursor = await reader.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
            )
            return int((await cursor.fetchone())[0])

        with workers(*own_workers(__spec__.name, PROCESSES)):
            await measure(job, create, recorded, processes=PROCESSES)


if __name__ == "__main__":
    run(work() if is_worker() else main())
