"""The tasks that an agent process works on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from agentmesh.attempt import Attempt
from agentmesh.failures import failure_report
from agentmesh.handlers import Handler
from agentmesh.outbox import Entry, Key, Kind, Outbox, Report, key_of, lease_of
from mesh.task.v1 import dispatch_service_pb2

if TYPE_CHECKING:
    from agentmesh.client import Client

log = logging.getLogger("agentmesh")

_LEASE_LOST: Final = "LEASE_LOST"


class Running:
    """Runs assigned tasks; what there is to say of them goes into the outbox.

    Leases and reports outlive the stream that brought them.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], outbox: Outbox, client: Callable[[], Client]
    ) -> None:
        self._handlers = handlers
        self._outbox = outbox
        self._client = client
        self._attempts: dict[Key, Attempt] = {}

    def start(self, assignment: dispatch_service_pb2.Assignment) -> None:
        """Begin a task; a lease that is known already is passed over."""
        handler = self._handlers.get(assignment.task.capability)
        key = key_of(assignment.lease)
        if not self._outbox.open(key):
            return
        if handler is None:
            words = f"this agent has no handler for {assignment.task.capability!r}"
            self._outbox.add_end(key, failure_report(assignment.lease, "NoHandler", words))
            return
        attempt = Attempt(assignment, handler, self._outbox, self._client)
        self._attempts[key] = attempt
        attempt.task = asyncio.create_task(self._run(attempt))

    def ask_to_stop(self, lease: dispatch_service_pb2.Lease) -> None:
        """Have a task stop in order, for its cancellation was asked for."""
        attempt = self._attempts.get(key_of(lease))
        if attempt is not None:
            log.info("task %s is to stop", lease.task_id)
            attempt.ask_to_stop()

    def stop(self, lease: dispatch_service_pb2.Lease) -> None:
        """Stop a task whose lease is lost; nothing more is reported of it."""
        key = key_of(lease)
        self._outbox.forget(key)
        attempt = self._attempts.pop(key, None)
        if attempt is not None:
            log.info("task %s called off", key[0])
            attempt.abandon()

    def acknowledge(self, entry: Entry, receipt: dispatch_service_pb2.Receipt) -> None:
        """Take the receipt of a report; one that makes no sense to the mesh fails the attempt."""
        if receipt.accepted:
            self._outbox.acknowledged(entry)
            return
        words = f"{receipt.reason}: {receipt.message}" if receipt.message else receipt.reason
        log.warning("report on task %s refused: %s", entry.key[0], words)
        if receipt.reason == _LEASE_LOST or entry.report.HasField("failure"):
            self.stop(receipt.lease)
        elif entry.kind is Kind.END:
            failure = failure_report(receipt.lease, "ReportRefused", words, retryable=False)
            self._outbox.add_end(entry.key, failure)

    def leases(self) -> list[dispatch_service_pb2.Lease]:
        """Return the leases of the tasks that run."""
        return [lease_of(key) for key in self._attempts]

    def release_all(self) -> None:
        """Give back what still runs."""
        attempts = list(self._attempts.values())
        self._attempts.clear()
        for attempt in attempts:
            attempt.abandon()
            release = Report(lease=lease_of(attempt.key), release=dispatch_service_pb2.Release())
            self._outbox.add_end(attempt.key, release)

    async def _run(self, attempt: Attempt) -> None:
        report = await attempt.report()
        if self._attempts.pop(attempt.key, None) is not None:
            self._outbox.add_end(attempt.key, report)
