"""A client as a process: `python -m tests.chaos.client`, its orders as JSON in CHAOS_CLIENT.

Started again after a kill it reads its own history and goes on: what it does not know
to be done it asks for again, under the same request ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentmesh.errors import MeshError
from tests.chaos.calls import Answer, Calls, carry_out, cause_of, result_of
from tests.chaos.history import History, read
from tests.chaos.raw_calls import RawCalls
from tests.chaos.sdk_calls import SdkCalls
from tests.chaos.workload import Wish, wishes

VARIABLE: Final = "CHAOS_CLIENT"
_SIDE_BY_SIDE: Final = 64
_PAUSE: Final = 0.2


@dataclass(frozen=True)
class Orders:
    """What a client is to do, where, and how many tasks it makes a second at most.

    Attributes:
        targets: Replicas to call by the stubs; or
        url: the gateway to call by the SDK.
    """

    seed: int
    number: int
    tasks: int
    targets: list[str]
    url: str
    key: str
    directory: str
    rate: float

    @property
    def history(self) -> Path:
        """Where what it sees is written down."""
        return Path(self.directory) / f"client-{self.number}.jsonl"


class Client:
    """Carries out its wishes, some at a time."""

    def __init__(self, orders: Orders, calls: Calls) -> None:
        self._wishes = wishes(orders.seed, orders.number, orders.tasks)
        loop = asyncio.get_running_loop()
        self._ids = [loop.create_future() for _ in self._wishes]
        for line in read(orders.history):
            if line["result"] != "unknown" and not self._ids[line["number"]].done():
                self._ids[line["number"]].set_result((line["ids"] or [""])[0])
        self._orders = orders
        self._calls = calls
        self._history = History(orders.history)
        self._places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def run(self) -> None:
        """Do all that is not done yet."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        async with asyncio.TaskGroup() as group:
            for wish in self._wishes:
                if self._ids[wish.number].done():
                    continue
                await self._places.acquire()
                group.create_task(self._fulfil(wish))
                next_at = max(next_at + wish.tasks / self._orders.rate, loop.time() - 1)
                await asyncio.sleep(next_at - loop.time())

    async def _fulfil(self, wish: Wish) -> None:
        try:
            numbers = [wish.number - back for back in wish.back if wish.number >= back]
            earlier = [await self._ids[number] for number in numbers]
            answer = Answer()
            if wish.op != "cancel" or any(earlier[:1]):
                answer = await self._until_known(wish, earlier)
            self._ids[wish.number].set_result((answer.ids or [""])[0])
        finally:
            self._places.release()

    async def _until_known(self, wish: Wish, earlier: Sequence[str]) -> Answer:
        while True:
            begun = time.time()
            try:
                answer = await carry_out(self._calls, wish, earlier)
            except MeshError as error:
                result = result_of(error)
                self._note(wish, begun, result, ids=[], code=cause_of(error))
                if result == "refused":
                    return Answer()
            else:
                facts = _facts(wish, earlier, answer)
                self._note(wish, begun, "ok", ids=answer.ids, code="", **facts, **answer.seen)
                return answer
            await asyncio.sleep(_PAUSE)

    def _note(self, wish: Wish, begun: float, result: str, **more: Any) -> None:
        if self._orders.url:
            more["sdk"] = True
        self._history.operation(wish.seed, wish.op, begun, result, number=wish.number, **more)


def _facts(wish: Wish, earlier: Sequence[str], answer: Answer) -> dict[str, Any]:
    facts = []
    for index, task_id in enumerate(answer.ids):
        related = earlier if wish.op != "tree" else answer.ids[: min(index, 1)]
        facts.append(wish.facts(index, related) if task_id else {})
    return {"facts": facts} if any(facts) else {}


async def main() -> None:
    """Do what the environment orders."""
    orders = Orders(**json.loads(os.environ[VARIABLE]))
    await Client(orders, _calls(orders)).run()


def _calls(orders: Orders) -> Calls:
    if orders.url:
        return SdkCalls(orders.url, orders.key)
    return RawCalls(orders.targets, orders.key)


if __name__ == "__main__":
    asyncio.run(main())
