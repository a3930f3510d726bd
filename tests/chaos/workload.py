"""What clients ask for; each wish follows from the seed, the client and its number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from google.protobuf.struct_pb2 import Struct

from mesh.task.v1 import task_pb2

CAPABILITY: Final = "chaos.work"
BATCH: Final = 20


@dataclass(frozen=True)
class Wish:
    """One operation of a client.

    Attributes:
        number: Its place among the client's operations.
        op: "create", "batch" or "cancel".
        tasks: How many it makes.
        back: Which of the client's earlier tasks it refers to, counted from the last.
    """

    number: int
    op: str
    tasks: int
    back: int
    seed: str

    def task(self, index: int, earlier: str) -> task_pb2.Task:
        """Return the `index`-th task; `earlier` is one that it may depend on, or empty."""
        chance = random.Random(f"{self.seed}:{index}")  # noqa: S311 - a workload, no secret
        task = task_pb2.Task(
            capability=CAPABILITY,
            priority=chance.choice((0, 0, 0, 5, 9)),
            max_attempts=chance.choice((4, 5, 6)),
        )
        task.input.CopyFrom(_input(chance))
        task.retry_policy.initial_backoff.FromMilliseconds(50)
        task.retry_policy.max_backoff.FromMilliseconds(500)
        draw = chance.random()
        if draw < 0.05:
            task.concurrency_limits.add(key=f"key-{chance.randrange(5)}", limit=3)
        elif draw < 0.08:
            task.delay.FromMilliseconds(chance.randrange(2000))
        elif draw < 0.11 and earlier:
            task.dependencies.tasks.add(task_id=earlier)
        elif draw < 0.13:
            task.deadlines.attempt.FromSeconds(20)
        return task


def wishes(seed: int, client: int, tasks: int) -> list[Wish]:
    """Return the operations of a client that make so many tasks."""
    chance = random.Random(f"{seed}:{client}")  # noqa: S311 - a workload, no secret
    made: list[Wish] = []
    while tasks > 0:
        draw, number = chance.random(), len(made)
        op, count = "create", 1
        if draw < 0.04:
            op, count = "batch", min(BATCH, tasks)
        elif draw < 0.06 and number:
            op, count = "cancel", 0
        back = 1 + chance.randrange(5)
        made.append(Wish(number, op, count, back, f"{seed}:{client}:{number}"))
        tasks -= count
    return made


def _input(chance: random.Random) -> Struct:
    """Say what the agent is to do: succeed, fail for a while, fail for good, take its time."""
    said = Struct()
    draw = chance.random()
    said["work"] = chance.choice((0.0, 0.0, 0.0, 0.01, 0.05))
    if draw < 0.03:
        said["fails"] = 1
    elif draw < 0.035:
        said["fails"] = 100
    elif draw < 0.04:
        said["final"] = 1
    elif draw < 0.05:
        said["work"] = 0.5
    elif draw < 0.06:
        said["release"] = 1
    return said
