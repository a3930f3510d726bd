"""What must be known of tasks before they are created: who can do them, and their lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from meshkit.errors import DomainError
from meshkit.ids import IdSource
from meshkit.security.principal import Principal
from services.task.dispatch.steering import Steering
from services.task.domain.lanes import UNROUTED, Lane, LaneKey, bucket_of, lane_key, plain_key
from services.task.domain.policy import PLAIN, Policy
from services.task.domain.task import NewTask, Task
from services.task.engine.operations.create import Creation
from services.task.errors import CapabilityUnknown, RelatedTaskNotFound, TaskNotFound

_LANES_AT_A_TIME: Final = 5


class Capabilities(Protocol):
    """Knows what agents can do."""

    def is_known(self, tenant: str, capability: str) -> bool:
        """Tell whether it is known, without asking, that an agent has offered a capability."""
        ...

    async def knows_capability(self, tenant: str, capability: str) -> bool:
        """Tell whether any agent of the caller's tenant has ever offered the capability."""
        ...


class Lanes(Protocol):
    """Knows the lanes."""

    def known_plain(self, tenant: str, capability: str, priority: int) -> Lane | None:
        """Return the lane of tasks that ask for nothing, if it is known."""
        ...

    async def lane_of(self, key: LaneKey, weight: float) -> Lane:
        """Return the lane of a key, made if there is none."""
        ...


GetTask = Callable[[str, UUID], Awaitable[Task]]
"""Returns a task of a tenant, or raises TaskNotFound."""


class Preparing:
    """Prepares what callers want created."""

    def __init__(
        self,
        capabilities: Capabilities,
        lanes: Lanes,
        steering: Steering,
        get_task: GetTask,
        ids: IdSource,
    ) -> None:
        self._capabilities = capabilities
        self._lanes = lanes
        self._steering = steering
        self._get_task = get_task
        self._ids = ids
        self._finding = asyncio.Semaphore(_LANES_AT_A_TIME)

    async def creations(
        self, caller: Principal, wanted: Sequence[NewTask | DomainError]
    ) -> list[Creation | DomainError]:
        """Return what is to be created, or the refusal, of each, in order."""
        await self._learn_of(caller.tenant, [each for each in wanted if isinstance(each, NewTask)])
        return [await self._prepared(caller, each) for each in wanted]

    async def _learn_of(self, tenant: str, wanted: Sequence[NewTask]) -> None:
        """Ask for all that is to be known of tasks at once, rather than for each in turn.

        Whatever can't be learned is asked for again with the task that needs it.
        """
        capabilities = {each.capability for each in wanted}
        unknown = [each for each in capabilities if not self._capabilities.is_known(tenant, each)]
        if len(unknown) > 1:
            asked = (self._capabilities.knows_capability(tenant, each) for each in unknown)
            await asyncio.gather(*asked, return_exceptions=True)
        places = {(each.capability, each.priority) for each in wanted if each.policy is PLAIN}
        # No lane is made for a capability that nobody has.
        new = [
            each
            for each in places
            if self._capabilities.is_known(tenant, each[0])
            and self._lanes.known_plain(tenant, *each) is None
        ]
        if len(new) > 1:
            found = (self._find_plain_lane(tenant, *each) for each in new)
            await asyncio.gather(*found, return_exceptions=True)

    async def _find_plain_lane(self, tenant: str, capability: str, priority: int) -> None:
        async with self._finding:
            key = plain_key(tenant, capability, priority)
            await self._lanes.lane_of(key, PLAIN.fairness_weight)

    async def _prepared(
        self, caller: Principal, new: NewTask | DomainError
    ) -> Creation | DomainError:
        if isinstance(new, DomainError):
            return new
        try:
            return await self.creation(caller, new)
        except DomainError as refusal:
            return refusal

    async def creation(self, caller: Principal, new: NewTask) -> Creation:
        """Return what is to be created.

        Raises:
            CapabilityUnknown: Nobody has ever offered the capability.
            RelatedTaskNotFound: It names a task that there is not.
        """
        tenant = caller.tenant
        if not await self._capabilities.knows_capability(tenant, new.capability):
            raise CapabilityUnknown(new.capability)
        if new.policy.sticky_task_id:
            new = replace(new, policy=await self._stuck(tenant, new.policy))
        task_id = self._ids()
        lane = await self.lane(tenant, new.capability, new.priority, new.policy, task_id)
        return Creation(task_id, tenant, caller.subject, lane.id, new)

    async def _stuck(self, tenant: str, policy: Policy) -> Policy:
        try:
            earlier = await self._get_task(tenant, UUID(policy.sticky_task_id))
        except TaskNotFound as error:
            raise RelatedTaskNotFound("task.placement.sticky_task_id") from error
        if earlier.agent_id is None:
            return policy
        placement = replace(policy.placement, preferred_agent_id=str(earlier.agent_id))
        return replace(policy, placement=placement)

    async def lane(
        self, tenant: str, capability: str, priority: int, policy: Policy, task_id: UUID
    ) -> Lane:
        """Return the lane of a task, made if there is none."""
        routed = self._steering.is_ramping(tenant, capability)
        if policy is PLAIN and not routed:
            known = self._lanes.known_plain(tenant, capability, priority)
            if known is not None:
                return known
        bucket = bucket_of(task_id) if routed else UNROUTED
        key = lane_key(tenant, capability, priority, policy, bucket=bucket)
        return await self._lanes.lane_of(key, policy.fairness_weight)
