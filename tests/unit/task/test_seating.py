"""What agents are told of the seats that a transaction gave."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.task.dispatch.steering import Steering
from services.task.dispatch.streams import Assigned, DrainCause, Draining, Message, Stream
from services.task.domain.states import TaskState
from services.task.domain.task import Agent, Task
from services.task.engine.changes import Changes
from services.task.engine.seating import Seating

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = Agent(UUID(int=2), "acme", "me", {"text.count": ""})


def seated(seating: Seating, stream: Stream) -> Changes:
    """Return the changes of a transaction, still to be committed, that gave a task to a stream."""
    task = Task(
        id=UUID(int=1),
        tenant="acme",
        capability="text.count",
        state=TaskState.RUNNING,
        priority=0,
        lane=1,
        attempt=1,
        max_attempts=3,
        epoch=0,
        creator="key:tester",
        create_time=NOW,
        ready_time=NOW,
        last_sequence=1,
    )
    changes = Changes(NOW, seating, 30.0, 10.0)
    seating.begin()
    seating.seat(stream, task, reserved=False)
    task.epoch = 1
    changes.started.append((stream, task))
    return changes


async def told(stream: Stream) -> list[Message]:
    stream.end()
    return [message async for message in stream.messages()]


@pytest.mark.parametrize("drains", [False, True])
async def test_what_is_given_after_a_drain_is_given_back_instead(drains: bool) -> None:
    seating, stream = Seating(Steering()), Stream(AGENT, frozenset(["text.count"]), 1)
    given_back: list[Task] = []
    seating.on_orphans(lambda _stream, tasks: given_back.extend(tasks))
    seating.add(stream)
    changes = seated(seating, stream)
    if drains:
        stream.open = False
        stream.send(Draining(DrainCause.SERVER_GOING))
    seating.commit(changes)
    assert [type(message) for message in await told(stream)] == [Draining if drains else Assigned]
    assert len(given_back) == drains
