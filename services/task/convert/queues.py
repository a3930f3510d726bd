"""Queues, pauses, build routings and connections, from and to messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from mesh.task.v1 import queue_service_pb2
from meshkit.ids import uuid7
from meshkit.security.principal import Principal
from meshkit.timestamps import from_timestamp, to_timestamp
from services.task.domain.connection import Connection
from services.task.domain.steering import BuildRouting, Pause, PauseKind
from services.task.store.queues import Queue

_KINDS: Final = {
    "capability": PauseKind.CAPABILITY,
    "key": PauseKind.KEY,
    "agent_id": PauseKind.AGENT,
}
_FIELDS: Final = {kind: field for field, kind in _KINDS.items()}


def queue_to_proto(queue: Queue) -> queue_service_pb2.Queue:
    """Encode a queue."""
    return queue_service_pb2.Queue(
        capability=queue.capability,
        queued=queue.queued,
        running=queue.running,
        scheduled=queue.scheduled,
        oldest_create_time=to_timestamp(queue.oldest_create_time),
    )


def pause_from_proto(message: queue_service_pb2.Pause, caller: Principal) -> Pause:
    """Decode a new pause; its time is set by whom makes it.

    Raises:
        InvalidArgument: Its end is no time.
    """
    field = message.WhichOneof("target") or ""
    kind, target = _KINDS[field], str(getattr(message, field))
    return Pause(
        id=uuid7(),
        tenant=caller.tenant,
        kind=kind,
        target=str(UUID(target)) if kind is PauseKind.AGENT else target,
        until=from_timestamp(message, "until", path="pause.until"),
        reason=message.reason,
        creator=caller.subject,
        create_time=datetime.now(UTC),
    )


def pause_to_proto(pause: Pause) -> queue_service_pb2.Pause:
    """Encode a pause."""
    message = queue_service_pb2.Pause(
        id=str(pause.id),
        until=to_timestamp(pause.until),
        reason=pause.reason,
        creator=pause.creator,
        create_time=to_timestamp(pause.create_time),
    )
    setattr(message, _FIELDS[pause.kind], pause.target)
    return message


def routing_from_proto(message: queue_service_pb2.BuildRouting, tenant: str) -> BuildRouting:
    """Decode a build routing; its time is set by whom stores it."""
    return BuildRouting(
        tenant=tenant,
        capability=message.capability,
        current_build_id=message.current_build_id,
        ramping_build_id=message.ramping_build_id,
        ramping_percent=message.ramping_percent,
        update_time=datetime.now(UTC),
    )


def routing_to_proto(routing: BuildRouting) -> queue_service_pb2.BuildRouting:
    """Encode a build routing."""
    return queue_service_pb2.BuildRouting(
        capability=routing.capability,
        current_build_id=routing.current_build_id,
        ramping_build_id=routing.ramping_build_id,
        ramping_percent=routing.ramping_percent,
        update_time=to_timestamp(routing.update_time),
    )


def connection_to_proto(connection: Connection) -> queue_service_pb2.Connection:
    """Encode a connection."""
    return queue_service_pb2.Connection(
        agent_id=str(connection.agent_id),
        agent_name=connection.agent_name,
        process_id=connection.process_id,
        capabilities=connection.capabilities,
        slots=connection.slots,
        held=connection.held,
        build_id=connection.build_id,
        sdk=connection.sdk,
        connect_time=to_timestamp(connection.connect_time),
        last_seen_time=to_timestamp(connection.last_seen_time),
        task_ids=[str(task_id) for task_id in connection.task_ids],
    )
