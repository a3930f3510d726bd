"""What can go wrong with tasks."""

from __future__ import annotations

from meshkit.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)


class TaskNotFound(NotFound):
    """No such task in the caller's tenant."""

    reason = "TASK_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no task with this id.", field="task_id")


class CapabilityUnknown(InvalidArgument):
    """Nobody has ever offered the capability."""

    reason = "CAPABILITY_UNKNOWN"

    def __init__(self, capability: str) -> None:
        super().__init__(
            f"No agent has ever offered the capability {capability!r};"
            " start one that does, or see GET /api/v1/capabilities.",
            field="task.capability",
        )


class RequestIdReused(AlreadyExists):
    """The request id belongs to another task."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "This request id was used for another task; use a new one.",
            field="request_id",
            metadata={"task_id": task_id},
        )


class TaskStateConflict(FailedPrecondition):
    """The task's state does not allow this."""

    reason = "TASK_STATE_CONFLICT"


class AgentNotFound(NotFound):
    """No such agent in the caller's tenant."""

    reason = "AGENT_NOT_FOUND"

    def __init__(self, field: str) -> None:
        super().__init__("There is no agent with this id; register it first.", field=field)


class CapabilityNotRegistered(InvalidArgument):
    """An agent offers on its stream what it did not register."""

    def __init__(self, capability: str, field: str) -> None:
        super().__init__(
            f"The agent has not registered the capability {capability!r}.", field=field
        )


class DispatchProtocol(FailedPrecondition):
    """The agent's stream broke the protocol."""

    reason = "DISPATCH_PROTOCOL"


class EtagMismatch(Aborted):
    """The task changed since its etag was read."""

    reason = "ETAG_MISMATCH"

    def __init__(self) -> None:
        super().__init__(
            "The task has changed since; get it anew and apply the change again.",
            field="task.etag",
        )


class RelatedTaskNotFound(InvalidArgument):
    """A task that another is to depend on or come under is not there."""

    reason = "RELATED_TASK_NOT_FOUND"

    def __init__(self, field: str) -> None:
        super().__init__("There is no task with this id.", field=field)


class ConcurrencyLimitReached(ResourceExhausted):
    """As many tasks of the key are under way as may be."""

    reason = "CONCURRENCY_LIMIT"

    def __init__(self, key: str, limit: int) -> None:
        super().__init__(
            f"There are {limit} unfinished tasks of {key!r}, which is its limit;"
            " try again when one has ended.",
            field="task.concurrency_limits",
            metadata={"key": key},
        )


class PauseNotFound(NotFound):
    """No such pause in the caller's tenant."""

    reason = "PAUSE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "There is no pause with this id; it may have ended, or been replaced.",
            field="pause_id",
        )


class BudgetExceeded(ResourceExhausted):
    """A budget of the task's root would be exceeded."""

    reason = "BUDGET_EXCEEDED"

    def __init__(self, budget: str, message: str) -> None:
        super().__init__(message, field="task.parent_id", metadata={"budget": budget})


class QuotaExceeded(ResourceExhausted):
    """The tenant has as many of a thing as it may have."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, things: str, limit: int) -> None:
        super().__init__(
            f"There are {limit} {things}, which is the most; delete one first.",
            metadata={"limit": str(limit)},
        )


class OffsetExpired(FailedPrecondition):
    """Changes after the offset have been deleted."""

    reason = "OFFSET_EXPIRED"

    def __init__(self) -> None:
        super().__init__(
            "Tasks that changed after this offset have been deleted for their age; list the tasks"
            " and watch from now on, without an offset.",
            field="after_offset",
        )


class BulkOperationNotFound(NotFound):
    """No such bulk operation in the caller's tenant."""

    reason = "BULK_OPERATION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no bulk operation with this id.", field="bulk_operation_id")
