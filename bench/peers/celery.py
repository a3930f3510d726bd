"""celery on Redis: `default`, or `late` for acknowledgements after the run."""

from __future__ import annotations

import asyncio

from celery import Celery

from bench.peers.protocol import Job, measure, run, workers
from bench.peers.tally import Tally

PROCESSES = 2

job = Job.from_environment()
tally = Tally(job.tally)
app = Celery("bench", broker=job.url)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=job.variant == "late",
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""
    tally.add()


def send(count: int) -> None:
    """Create tasks on one connection; more at a time only contend for the interpreter."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


async def main() -> None:
    """Measure."""
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    command = ["celery", "-A", __spec__.name, "worker", "-P", "prefork", "-c", str(PROCESSES)]
    with workers([*command, *options]):
        await measure(job, lambda count: asyncio.to_thread(send, count), processes=PROCESSES)


if __name__ == "__main__":
    run(main())
