"""What can go wrong with tasks."""

from __future__ import annotations

from meshkit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


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

    def __init__(self) -> None:
        super().__init__(
            "There is no agent with this id; register it first.", field="hello.agent_id"
        )


class CapabilityNotRegistered(InvalidArgument):
    """An agent offers on its stream what it did not register."""

    def __init__(self, capability: str) -> None:
        super().__init__(
            f"The agent has not registered the capability {capability!r}.",
            field="hello.capabilities",
        )


class DispatchProtocol(FailedPrecondition):
    """The agent's stream broke the protocol."""

    reason = "DISPATCH_PROTOCOL"
