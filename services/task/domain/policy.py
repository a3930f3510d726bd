"""What a caller asks of the engine for one task, beyond its capability and input.

Most tasks ask for nothing, so a policy is stored as JSON text of what differs from
the defaults, and as nothing at all if nothing does.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is followed by another; seconds. None leaves it to the settings."""

    initial_backoff: float | None = None
    multiplier: float = 2.0
    max_backoff: float | None = None
    jitter: float = 0.0
    non_retryable_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long things may take, in seconds; None for without bound."""

    queue: float | None = None
    attempt: float | None = None
    heartbeat: float | None = None
    total: float | None = None


PATIENCE: Final = 5.0
"""Seconds to wait for a preferred agent, unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Which agents may work on a task, and which should.

    Attributes:
        agent_id: The only one that may; empty for any.
        version: Range of the capability's version, as in PEP 440.
        preferred_agent_id: The one that should.
        patience: Seconds to wait for a preferred agent.
        build_id: The only build that may; empty leaves it to build routing.
    """

    agent_id: str = ""
    version: str = ""
    required_labels: tuple[tuple[str, str], ...] = ()
    preferred_labels: tuple[tuple[str, str], ...] = ()
    excluded_agent_ids: tuple[str, ...] = ()
    preferred_agent_id: str = ""
    patience: float = PATIENCE
    build_id: str = ""

    @property
    def prefers(self) -> bool:
        """Whether some agents should rather get the task than others."""
        return bool(self.preferred_agent_id or self.preferred_labels)


class LimitStrategy(StrEnum):
    """What happens to a task that comes while its key's concurrency limit is reached."""

    QUEUE = "queue"
    REJECT_NEWEST = "reject_newest"
    CANCEL_OLDEST = "cancel_oldest"
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """At most `limit` tasks of `key` at a time."""

    key: str
    limit: int
    strategy: LimitStrategy = LimitStrategy.QUEUE


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `limit` units of `key` started in `period` seconds; this task takes `units`."""

    key: str
    limit: int
    period: float = 1.0
    units: int = 1


@dataclass(frozen=True, slots=True)
class Budget:
    """What a root task and all under it may use; 0 for without bound."""

    max_depth: int = 0
    max_tasks: int = 0
    max_tokens: int = 0
    max_cost: float = 0.0


class DependencyCondition(StrEnum):
    """How a task that another depends on must have ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Dependency:
    """A task to wait for, and how it must have ended."""

    task_id: UUID
    condition: DependencyCondition = DependencyCondition.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it.

    Attributes:
        expire_time: After it the task is of no use.
        needs_any: Whether one of the dependencies suffices.
    """

    retry: Retry = Retry()
    deadlines: Deadlines = Deadlines()
    placement: Placement = Placement()
    fairness_key: str = ""
    fairness_weight: float = 1.0
    concurrency_limits: tuple[ConcurrencyLimit, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    budget: Budget | None = None
    dependencies: tuple[Dependency, ...] = ()
    needs_any: bool = False
    expire_time: datetime | None = None
    sticky_task_id: str = ""
    limit_keys: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Gather the keys of all limits."""
        if self.concurrency_limits or self.rate_limits:
            keys = [each.key for each in self.concurrency_limits]
            keys += [each.key for each in self.rate_limits]
            object.__setattr__(self, "limit_keys", frozenset(keys))


PLAIN: Final = Policy()
"""The policy of a task that asks for nothing."""


@lru_cache(maxsize=4096)
def policy_from_text(text: str | None) -> Policy:
    """Read a stored policy."""
    return PLAIN if text is None else _policy(json.loads(text))


def policy_to_text(policy: Policy) -> str | None:
    """Write a policy; None for the plain one. Equal policies give equal texts."""
    if policy is PLAIN or policy == PLAIN:
        return None
    return json.dumps(_sparse(policy), separators=(",", ":"), sort_keys=True)


def placement_to_text(placement: Placement) -> str:
    """Write a placement; empty for the plain one. Equal placements give equal texts."""
    sparse = _sparse(placement)
    return json.dumps(sparse, separators=(",", ":"), sort_keys=True) if sparse else ""


@lru_cache(maxsize=4096)
def placement_from_text(text: str) -> Placement:
    """Read a stored placement."""
    return _placement(json.loads(text)) if text else Placement()


def _sparse(value: Any) -> dict[str, Any]:
    return {
        each.name: _plain(getattr(value, each.name))
        for each in fields(value)
        if each.init and getattr(value, each.name) != _default(each)
    }


def _default(each: Any) -> Any:
    return None if each.default is MISSING else each.default


def _plain(value: Any) -> Any:
    match value:
        case tuple():
            return [_plain(item) for item in value]
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case StrEnum() | str() | bool() | int() | float() | None:
            return value
        case _:
            return _sparse(value)


def _policy(data: dict[str, Any]) -> Policy:
    budget = data.get("budget")
    expires = data.get("expire_time")
    retry = dict(data.get("retry", {}))
    retry["non_retryable_types"] = tuple(retry.get("non_retryable_types", ()))
    return Policy(
        retry=Retry(**retry),
        deadlines=Deadlines(**data.get("deadlines", {})),
        placement=_placement(data.get("placement", {})),
        fairness_key=data.get("fairness_key", ""),
        fairness_weight=data.get("fairness_weight", 1.0),
        concurrency_limits=tuple(
            ConcurrencyLimit(
                each["key"], each["limit"], LimitStrategy(each.get("strategy", "queue"))
            )
            for each in data.get("concurrency_limits", ())
        ),
        rate_limits=tuple(RateLimit(**each) for each in data.get("rate_limits", ())),
        budget=None if budget is None else Budget(**budget),
        dependencies=tuple(
            Dependency(
                UUID(each["task_id"]), DependencyCondition(each.get("condition", "succeeded"))
            )
            for each in data.get("dependencies", ())
        ),
        needs_any=data.get("needs_any", False),
        expire_time=None if expires is None else datetime.fromisoformat(expires),
        sticky_task_id=data.get("sticky_task_id", ""),
    )


def _placement(data: dict[str, Any]) -> Placement:
    known = dict(data)
    known["excluded_agent_ids"] = tuple(known.get("excluded_agent_ids", ()))
    for name in ("required_labels", "preferred_labels"):
        known[name] = tuple((key, value) for key, value in known.get(name, ()))
    return Placement(**known)
