"""Bulk operations, from and to messages."""

from __future__ import annotations

import hashlib
from typing import Final

from mesh.task.v1 import bulk_service_pb2
from meshkit.timestamps import to_timestamp
from services.task.domain.bulk import BulkAction, BulkOperation, BulkState, NewBulkOperation

_ACTIONS: Final = {
    action: bulk_service_pb2.BulkOperation.Action.Value(f"ACTION_{action.name}")
    for action in BulkAction
}
_STATES: Final = {
    state: bulk_service_pb2.BulkOperation.State.Value(f"STATE_{state.name}") for state in BulkState
}
_ACTION_OF: Final = {number: action for action, number in _ACTIONS.items()}


def new_from_proto(request: bulk_service_pb2.StartBulkOperationRequest) -> NewBulkOperation:
    """Decode what is to be done."""
    action = _ACTION_OF[request.operation.action]
    digest = hashlib.sha256(f"{action}\n{request.operation.filter}".encode()).digest()
    return NewBulkOperation(action, request.operation.filter, request.request_id, digest)


def to_proto(operation: BulkOperation) -> bulk_service_pb2.BulkOperation:
    """Encode an operation."""
    return bulk_service_pb2.BulkOperation(
        id=str(operation.id),
        action=_ACTIONS[operation.action],
        filter=operation.filter,
        state=_STATES[operation.state],
        done=operation.done,
        refused=operation.refused,
        total=operation.total,
        creator=operation.creator,
        create_time=to_timestamp(operation.create_time),
        end_time=to_timestamp(operation.end_time),
    )
