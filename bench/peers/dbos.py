"""DBOS on PostgreSQL: `start` runs workflows where they start, `queue` in a worker."""

from __future__ import annotations

import asyncio
import threading

import psycopg
from dbos import DBOS, DBOSConfig

from bench.peers.protocol import Job, is_worker, measure, own_workers, run, spread, workers
from bench.peers.tally import Tally

PROCESSES = 1
POOL = 20
QUEUE = "bench"
POLLING_SECONDS = 0.01

job = Job.from_environment()
tally = Tally(job.tally)
config: DBOSConfig = {
    "name": "bench",
    "system_database_url": job.url.replace("postgresql:", "postgresql+psycopg:"),
    "sys_db_pool_size": POOL,
    "log_level": "ERROR",
    "application_version": "1",
    "executor_id": "worker" if is_worker() else "producer",
}


@DBOS.workflow()
async def noop() -> None:
    """Do nothing."""
    tally.add()


def work() -> None:
    """Run tasks until ended."""
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=POLLING_SECONDS)
    threading.Event().wait()


async def create(count: int) -> None:
    """Create tasks."""
    if job.variant == "queue":
        await spread(count, job.in_flight, lambda: DBOS.enqueue_workflow_async(QUEUE, noop))
    else:
        await spread(count, job.in_flight, lambda: DBOS.start_workflow_async(noop))


async def main() -> None:
    """Measure."""
    DBOS(config=config)
    if job.variant == "queue":
        DBOS.listen_queues([])
    await asyncio.to_thread(DBOS.launch)
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=POLLING_SECONDS)
    async with await psycopg.AsyncConnection.connect(job.url, autocommit=True) as reader:

        async def recorded() -> int:
            done = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
            cursor = await reader.execute(done)
            return int((await cursor.fetchone())[0])

        in_workers = PROCESSES if job.variant == "queue" else 0
        with workers(*own_workers(__spec__.name, in_workers)):
            await measure(job, create, recorded)
    await asyncio.to_thread(DBOS.destroy)


if __name__ == "__main__":
    if is_worker():
        work()
    else:
        run(main())
