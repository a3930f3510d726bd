"""What every replica keeps in memory for a tenant is bounded."""

from __future__ import annotations

import grpc
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import queue_service_pb2 as queue
from mesh.task.v1.queue_service_pb2_grpc import QueueServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import Stores
from tests.integration.task.steering import pause

EXHAUSTED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")


async def test_a_tenant_may_have_so_many_pauses(channel: aio.Channel, stores: Stores) -> None:
    statement = """
        INSERT INTO pauses (id, tenant, kind, target, reason, creator)
        SELECT gen_random_uuid(), tenant, 'key', 'key ' || n, '', ''
        FROM generate_series(1, 1000) AS n, (VALUES ('acme'), ('umbrella')) AS of (tenant)
    """
    first = await pause(channel, key="key 1")
    await stores.task.transaction(
        lambda connection: connection.execute(text(f"{statement} ON CONFLICT DO NOTHING"))
    )
    with refusal(*EXHAUSTED):
        await pause(channel, key="one more")
    with refusal(*EXHAUSTED):
        await pause(channel, capability="key 1")
    assert (await pause(channel, key="key 1")).id != first.id


async def test_a_tenant_may_have_so_many_build_routings(
    channel: aio.Channel, stores: Stores
) -> None:
    statement = """
        INSERT INTO build_routings
            (tenant, capability, current_build_id, ramping_build_id, ramping_percent)
        SELECT tenant, 'text.' || n, 'one', '', 0
        FROM generate_series(1, 1000) AS n, (VALUES ('acme'), ('umbrella')) AS of (tenant)
    """
    await stores.task.transaction(lambda connection: connection.execute(text(statement)))

    async def route(capability: str) -> queue.BuildRouting:
        routing = queue.BuildRouting(capability=capability, current_build_id="two")
        request = queue.SetBuildRoutingRequest(routing=routing)
        return await QueueServiceStub(channel).SetBuildRouting(request)

    with refusal(*EXHAUSTED):
        await route("text.more")
    assert (await route("text.1")).current_build_id == "two"
