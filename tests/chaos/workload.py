"""What clients ask for; each wish follows from the seed, the client and its number alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentmesh.client.new_task import NewTask, TaskOptions
from agentmesh.policies import (
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    DependencyCondition,
    Fairness,
    LimitStrategy,
    RateLimit,
    RetryPolicy,
)
from tests.chaos.work import CAPABILITY, FAMILY, FATAL, draw_input, never_succeeds

_SIZES: Final = {"batch": 20, "tree": 4}

LIMITS: Final[dict[str, tuple[int, LimitStrategy]]] = {
    "one": (1, "QUEUE"),
    "two": (2, "QUEUE"),
    "in-turn": (3, "ROUND_ROBIN"),
    "latest": (2, "CANCEL_OLDEST"),
    "few": (3, "REJECT_NEWEST"),
}
"""Concurrency limits: how many, and what is done beyond."""

RATES: Final = {"slow": (20, 1.0), "slower": (30, 2.0)}
"""Rate limits: how many units in how many seconds."""

_OPS: Final = (
    ("batch", 0.04),
    ("cancel", 0.02),
    ("tree", 0.02),
    ("twice", 0.03),
    ("run", 0.05),
    ("watch", 0.03),
)
_GRACES: Final = (None, 0.0, 0.3)
_CONDITIONS: Final[tuple[DependencyCondition, ...]] = ("SUCCEEDED", "ENDED", "FAILED")
_RETRY: Final = RetryPolicy(
    initial_backoff=0.05, max_backoff=0.5, jitter=0.5, non_retryable_types=(FATAL,)
)


@dataclass(frozen=True)
class Wish:
    """One operation of a client.

    Attributes:
        number: Its place among the client's operations.
        op: "create", "twice" (the same request two times at once), "batch", "run", "watch",
            "cancel", or "tree" (a task that takes its time, and others under it).
        tasks: How many it makes.
        back: Which of the client's earlier operations it refers to, counted from the last.
        grace: Seconds of a cancellation; None for the mesh's default.
        regrets: Whether a tree is called off soon.
    """

    number: int
    op: str
    tasks: int
    back: tuple[int, int]
    seed: str
    grace: float | None = None
    regrets: bool = False

    def task(self, index: int, earlier: Sequence[str]) -> NewTask:
        """Return the `index`-th task; `earlier` are tasks that it may have to do with."""
        chance = random.Random(f"{self.seed}:{index}")  # noqa: S311 - a workload, no secret
        options: TaskOptions = {
            "priority": chance.choice((0, 0, 0, 5, 9)),
            "max_attempts": chance.choice((4, 5, 6)),
            "retry": _RETRY,
            "request_id": f"{self.seed}:{index}",
        }
        if self.op == "tree":
            return _member_of_tree(options, index, earlier)
        said = draw_input(chance)
        if chance.random() < 0.1:
            options["fairness"] = Fairness(f"tenant-{chance.randrange(4)}", chance.choice((1, 3)))
        if chance.random() < 0.01:
            return NewTask(FAMILY, {"children": chance.randrange(1, 4)}, **options)
        _add_feature(options, said, chance, [each for each in earlier if each])
        return NewTask(CAPABILITY, said, **options)

    def facts(self, index: int, earlier: Sequence[str]) -> dict[str, Any]:
        """Return what the checker has to know of the `index`-th task."""
        task = self.task(index, earlier)
        options, facts = task.options, dict[str, Any]()
        if limits := options.get("concurrency"):
            facts["limits"] = {each.key: each.limit for each in limits}
        if rates := options.get("rate_limits"):
            facts["rates"] = {each.key: [each.limit, each.period, each.units] for each in rates}
        if needs := options.get("dependencies"):
            pairs = [each for each in needs if isinstance(each, Dependency)]
            facts["needs"] = [[each.task_id, each.condition.lower()] for each in pairs]
            facts["any"] = options.get("needs_any", False)
        if parent := options.get("parent"):
            facts["parent"] = parent
        if task.capability == FAMILY:
            facts["family"] = task.input["children"]
        elif never_succeeds(task.input, options["max_attempts"]):
            facts["never"] = True
        return facts


def wishes(seed: int, client: int, tasks: int) -> list[Wish]:
    """Return the operations of a client that make so many tasks."""
    chance = random.Random(f"{seed}:{client}")  # noqa: S311 - a workload, no secret
    made: list[Wish] = []
    while tasks > 0:
        number, op, count = len(made), _draw_op(chance), 1
        if op in _SIZES:
            count = min(_SIZES[op], tasks)
        elif op == "cancel":
            op, count = ("cancel", 0) if number else ("create", 1)
        back = 1 + chance.randrange(5)
        grace = chance.choice(_GRACES)
        backs = (back, back + 1 + chance.randrange(5))
        regrets = chance.random() < 0.7
        made.append(Wish(number, op, count, backs, f"{seed}:{client}:{number}", grace, regrets))
        tasks -= count
    return made


def _draw_op(chance: random.Random) -> str:
    draw = chance.random()
    for op, share in _OPS:
        if draw < share:
            return op
        draw -= share
    return "create"


def _member_of_tree(options: TaskOptions, index: int, above: Sequence[str]) -> NewTask:
    if not above:
        return NewTask(CAPABILITY, {"work": 1.0}, **options)
    options["parent"] = above[0]
    if index > 1:
        options["schedule"] = 0.5
    return NewTask(CAPABILITY, {"work": 0.5}, **options)


def _add_feature(
    options: TaskOptions, said: dict[str, Any], chance: random.Random, earlier: Sequence[str]
) -> None:
    draw = chance.random()
    if draw < 0.1:
        _limit(options, said, chance)
    elif draw < 0.13:
        options["schedule"] = chance.random() * 2
    elif draw < 0.17 and earlier:
        condition = chance.choice(_CONDITIONS[:2] if "asks" in said else _CONDITIONS)
        options["dependencies"] = [Dependency(each, condition) for each in earlier]
        options["needs_any"] = chance.random() < 0.5
    elif draw < 0.18 and earlier:
        options["parent"] = earlier[0]
    elif draw < 0.2:
        options["deadlines"] = Deadlines(attempt=20)


def _limit(options: TaskOptions, said: dict[str, Any], chance: random.Random) -> None:
    draw = chance.random()
    if draw < 0.7:
        key = chance.choice(list(LIMITS))
        options["concurrency"] = [ConcurrencyLimit(key, *LIMITS[key])]
        if "fails" in said:
            said["throttles"] = key
    if draw > 0.5:
        key = chance.choice(list(RATES))
        options["rate_limits"] = [RateLimit(key, *RATES[key], units=chance.choice((1, 2)))]
