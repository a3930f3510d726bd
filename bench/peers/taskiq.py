"""taskiq on Redis streams, acknowledged after the run."""

from __future__ import annotations

from taskiq_redis import RedisStreamBroker

from bench.peers.protocol import Job, measure, run, spread, workers
from bench.peers.tally import Tally

PROCESSES = 1
CONCURRENCY = 100

job = Job.from_environment()
tally = Tally(job.tally)
broker = RedisStreamBroker(job.url, max_connection_pool_size=job.in_flight, consumer_id="0")


@broker.task(task_name="noop")
async def noop() -> None:
    """Do nothing."""
    tally.add()


async def create(count: int) -> None:
    """Create tasks."""
    await spread(count, job.in_flight, noop.kiq)


async def main() -> None:
    """Measure."""
    await broker.startup()
    options = ["--max-async-tasks", str(CONCURRENCY), "--no-parse", "--log-level", "ERROR"]
    command = ["taskiq", "worker", f"{__spec__.name}:broker", "-w", str(PROCESSES), *options]
    with workers(command):
        await measure(job, create, processes=PROCESSES)
    await broker.shutdown()


if __name__ == "__main__":
    run(main())
