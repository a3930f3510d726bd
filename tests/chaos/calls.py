"""What a client asks of a mesh, and how it may be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from agentmesh.client.new_task import NewTask
from agentmesh.errors import MeshError
from tests.chaos.workload import Wish

_MAY_BE_DONE: Final = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "UNKNOWN",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
}
_FULL: Final = "CONCURRENCY_LIMIT"
_ENDED: Final = "TASK_STATE_CONFLICT"
_SECOND_THOUGHTS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Answer:
    """What was done.

    Attributes:
        ids: Tasks that were made, in the order in which they were asked for; empty for one
            that was refused.
        seen: What else was seen, for the checker.
    """

    ids: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


class Followed(NamedTuple):
    """A task that was followed to its end, and the sequences of the events that were seen."""

    id: str
    state: str
    sequences: Sequence[int] = ()


class Calls(Protocol):
    """Calls a mesh, in one way or another. Each raises MeshError if it is refused or fails."""

    async def create(self, task: NewTask) -> str:
        """Create a task and return its id."""
        ...

    async def create_all(self, tasks: Sequence[NewTask]) -> list[str]:
        """Create tasks and return their ids, empty for one that was refused."""
        ...

    async def cancel(self, task_id: str, grace: float | None) -> None:
        """Call a task off."""
        ...

    async def run(self, task: NewTask) -> Followed:
        """Create a task and wait for its end in one."""
        ...

    async def watch(self, task: NewTask) -> Followed:
        """Create a task and follow its events to its end."""
        ...


async def carry_out(calls: Calls, wish: Wish, earlier: Sequence[str]) -> Answer:
    """Do what is wished.

    Raises:
        MeshError: The mesh refuses it, or can't be reached.
    """
    match wish.op:
        case "cancel":
            await calls.cancel(earlier[0], wish.grace)
            return Answer(seen={"cancelled": earlier[0], "grace": wish.grace})
        case "batch":
            tasks = [wish.task(index, earlier) for index in range(wish.tasks)]
            return Answer(await calls.create_all(tasks))
        case "twice":
            task = wish.task(0, earlier)
            one, other = await asyncio.gather(calls.create(task), calls.create(task))
            return Answer([one], {"other": other})
        case "tree":
            return await _grow_tree(calls, wish)
        case "run" | "watch":
            follow = calls.run if wish.op == "run" else calls.watch
            task_id, state, sequences = await follow(wish.task(0, earlier))
            return Answer([task_id], {"ended": state, "sequences": list(sequences)})
        case _:
            return Answer([await calls.create(wish.task(0, earlier))])


async def _grow_tree(calls: Calls, wish: Wish) -> Answer:
    """Create a task and others under it, and think better of it as a rule."""
    root = await calls.create(wish.task(0, ()))
    ids = [root]
    for index in range(1, wish.tasks):
        ids.append(await calls.create(wish.task(index, ids[:1])))
    if not wish.regrets:
        return Answer(ids)
    await asyncio.sleep(_SECOND_THOUGHTS)
    try:
        await calls.cancel(root, wish.grace)
    except MeshError as error:
        if error.reason != _ENDED:
            raise
        return Answer(ids)
    return Answer(ids, {"cancelled": root, "grace": wish.grace})


def result_of(error: MeshError) -> str:
    """Tell whether what was asked for was "refused", or may have been done: "unknown"."""
    if error.reason == _FULL:
        return "refused"
    return "unknown" if error.code in _MAY_BE_DONE else "refused"


def cause_of(error: MeshError) -> str:
    """Describe a refusal."""
    return f"{error.code} {error.reason}: {error}"
