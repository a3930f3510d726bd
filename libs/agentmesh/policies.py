"""What can be asked of a task beyond its work: when, where, how often, how much of it.

Durations are `timedelta`, or a number of seconds. None leaves a thing to the mesh's default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Duration = timedelta | float
"""A `timedelta`, or a number of seconds."""

LimitStrategy = Literal["QUEUE", "REJECT_NEWEST", "CANCEL_OLDEST", "ROUND_ROBIN"]
"""What to do with a task that comes while a concurrency limit is reached."""

DependencyCondition = Literal["SUCCEEDED", "FAILED", "ENDED"]
"""How a task that another waits for must have ended."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often a failed attempt is followed by another.

    Attributes:
        initial_backoff: Wait before the second attempt; by default one second.
        multiplier: Factor by which the wait grows with each attempt, 1 to 100; 0 means 2.
        max_backoff: Longest wait; by default a minute.
        jitter: Share of each wait that is left to chance, 0 to 1.
        non_retryable_types: Types of errors after which there is no further attempt: the
            names of exception classes, or the `type` of a `TaskFailed`.
    """

    initial_backoff: Duration | None = None
    multiplier: float = 0.0
    max_backoff: Duration | None = None
    jitter: float = 0.0
    non_retryable_types: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long things may take, by the database's clock; None is without bound.

    Attributes:
        queue: From being ready to an agent taking it; then the task fails.
        attempt: One attempt; then it has failed, and another may follow.
        heartbeat: Between two signs of life of the handler itself: progress, output or
            heartbeat; then the attempt has failed, and another may follow.
        total: From creation to the end, all attempts and waits included; then the task fails.
    """

    queue: Duration | None = None
    attempt: Duration | None = None
    heartbeat: Duration | None = None
    total: Duration | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Which agents may work on a task, beyond having its capability.

    Attributes:
        agent_id: The one agent to work on it.
        version: Range of versions of the capability, as in PEP 440, such as `>=1.2,<2`.
        required_labels: Labels that the agent must have.
        preferred_labels: Labels that it should have: others get the task only once it
            has waited for `patience`.
        excluded_agent_ids: Agents that must not work on it.
        sticky_task_id: An earlier task whose agent should have this one too.
        patience: How long to wait for a preferred agent; by default 5 seconds.
        build_id: The build of the agents' code that must work on it.
    """

    agent_id: str = ""
    version: str = ""
    required_labels: Mapping[str, str] = field(default_factory=dict)
    preferred_labels: Mapping[str, str] = field(default_factory=dict)
    excluded_agent_ids: Sequence[str] = ()
    sticky_task_id: str = ""
    patience: Duration | None = None
    build_id: str = ""


@dataclass(frozen=True, slots=True)
class Fairness:
    """Whose turn it is among tasks of one capability and priority: each key gets its share.

    Attributes:
        key: What shares, such as a customer.
        weight: Share of the key against the others, to 1000; 0 means 1.
    """

    key: str
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """At most so many tasks of one key at a time.

    Attributes:
        key: What is limited, such as `user:42`.
        limit: Most tasks at a time; the latest task of a key decides for the key.
        strategy: What to do beyond it: have it wait (`QUEUE`, or `ROUND_ROBIN` by
            fairness keys), refuse it, or cancel the oldest.
    """

    key: str
    limit: int
    strategy: LimitStrategy = "QUEUE"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many starts of one key in a time: a bucket that refills evenly.

    Attributes:
        key: What is limited, such as `openai:gpt`.
        limit: Units in each period; the latest task of a key decides for the key.
        period: Length of the period; by default one second.
        units: Units that this task takes; 0 means 1.
    """

    key: str
    limit: int
    period: Duration | None = None
    units: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a task without a parent and all under it may use; 0 is without bound.

    Attributes:
        max_depth: Deepest level of children, to 64; the task itself is at 0.
        max_tasks: Most tasks, itself included.
        max_tokens: Most tokens, in and out together.
        max_cost: Highest cost, in the currency that agents report in.
    """

    max_depth: int = 0
    max_tasks: int = 0
    max_tokens: int = 0
    max_cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """A task that another waits for.

    Attributes:
        task_id: Its id.
        condition: How it must have ended.
    """

    task_id: str
    condition: DependencyCondition = "SUCCEEDED"


Policy = (
    RetryPolicy
    | Deadlines
    | Placement
    | Fairness
    | ConcurrencyLimit
    | RateLimit
    | Budget
    | Dependency
)
"""Any of them."""
