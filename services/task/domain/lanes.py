"""Lanes: queued tasks that are alike in all that decides when and where they go.

A lane is a first-in-first-out queue. Whose turn it is, and which agents fit, is
decided between lanes and never within one, so that taking the next task is one
step in one narrow index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.task.domain.policy import PLAIN, Placement, Policy

UNROUTED: Final = -1
"""Bucket of lanes whose capability has no build routing."""

BUCKETS: Final = 100


@dataclass(frozen=True, slots=True)
class LaneKey:
    """What the tasks of a lane share.

    Attributes:
        fairness_key: Empty for tasks that name none.
        bucket: 0 to 99, for the share of a ramping build; else UNROUTED.
    """

    tenant: str
    capability: str
    priority: int
    placement: Placement
    fairness_key: str
    bucket: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane; `weight` is the share of its fairness key, as the last task of it said."""

    id: int
    key: LaneKey
    weight: float


def lane_key(
    tenant: str, capability: str, priority: int, policy: Policy, *, bucket: int
) -> LaneKey:
    """Return the key of the lane that such a task waits in."""
    return LaneKey(tenant, capability, priority, policy.placement, policy.fairness_key, bucket)


def plain_key(tenant: str, capability: str, priority: int) -> LaneKey:
    """Return the key of the lane of tasks that ask for nothing, where no build is routed."""
    return LaneKey(tenant, capability, priority, PLAIN.placement, PLAIN.fairness_key, UNROUTED)


def bucket_of(task_id: UUID) -> int:
    """Return the bucket of a task, the same each time, spread evenly."""
    # The low bits of a UUIDv7 are random.
    return task_id.int % BUCKETS
