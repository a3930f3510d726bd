"""dramatiq on Redis."""

from __future__ import annotations

import asyncio

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.protocol import Job, measure, run, workers
from bench.peers.tally import Tally

PROCESSES = 1
THREADS = 8

job = Job.from_environment()
tally = Tally(job.tally)
dramatiq.set_broker(RedisBroker(url=job.url))


@dramatiq.actor(actor_name="noop")
def noop() -> None:
    """Do nothing."""
    tally.add()


def send(count: int) -> None:
    """Create tasks on one connection; more at a time only contend for the interpreter."""
    for _ in range(count):
        noop.send()


async def main() -> None:
    """Measure."""
    command = ["dramatiq", __spec__.name, "-p", str(PROCESSES), "-t", str(THREADS)]
    with workers(command):
        await measure(job, lambda count: asyncio.to_thread(send, count), processes=PROCESSES)


if __name__ == "__main__":
    run(main())
