"""What an agent process still has to report."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Final

from mesh.task.v1 import dispatch_service_pb2

Key = tuple[str, int]
"""Task id and epoch of a lease."""

Report = dispatch_service_pb2.Report

MOST_BYTES: Final = 1_000_000
"""Below what the mesh accepts in a message, with room for what is around a report."""

_MOST_REPORTS: Final = 1000
# Output that waits to be sent; who makes more has to wait.
_MOST_WAITING: Final = 4 << 20


class Kind(Enum):
    """What a report is."""

    END = auto()
    PROGRESS = auto()
    HEARTBEAT = auto()
    OUTPUT = auto()


class Entry:
    """A report on its way."""

    __slots__ = ("key", "kind", "report")

    def __init__(self, key: Key, kind: Kind, report: Report) -> None:
        self.key = key
        self.kind = kind
        self.report = report


class Outbox:
    """Keeps reports, in order, until the mesh has acknowledged them.

    A report without a receipt outlives the stream it was sent on: it goes out again on
    the next one. Of a task's progress, and of its heartbeats, only the latest that waits
    to be sent counts.
    """

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        """Set when there is something to send; whoever waits for it clears it before."""
        self._open: set[Key] = set()
        self._waiting: deque[Entry] = deque()
        self._latest: dict[tuple[Key, Kind], Entry] = {}
        self._output_bytes = 0
        self.room = asyncio.Event()
        """Set while there is room for more output."""
        self.room.set()
        self._settled = asyncio.Event()

    def open(self, key: Key) -> bool:
        """Begin to take reports under a lease; return False if it is known already."""
        if key in self._open:
            return False
        self._open.add(key)
        return True

    def forget(self, key: Key) -> None:
        """Drop what there is to report under a lease: it is lost, or ended."""
        if key not in self._open:
            return
        self._open.discard(key)
        self._settled.set()
        kept = deque(entry for entry in self._waiting if entry.key != key)
        for entry in self._waiting if len(kept) < len(self._waiting) else ():
            if entry.key == key and entry.kind is not Kind.END:
                self._left(entry)
        self._waiting = kept

    def add_end(self, key: Key, report: Report) -> None:
        """Report how an attempt ended; acknowledged, it ends the lease."""
        self._waiting.append(Entry(key, Kind.END, report))
        self.ready.set()

    def add_output(self, key: Key, report: Report) -> None:
        """Report a piece of output."""
        if key in self._open:
            self._output_bytes += len(report.output.data)
            if self._output_bytes >= _MOST_WAITING:
                self.room.clear()
            self._waiting.append(Entry(key, Kind.OUTPUT, report))
            self.ready.set()

    def latest(self, key: Key, kind: Kind) -> Report | None:
        """Return the report of a kind that counts and is yet to be sent; it may be changed.

        None under a lease that is lost.
        """
        if key not in self._open:
            return None
        entry = self._latest.get((key, kind))
        if entry is None:
            report = Report(lease=lease_of(key))
            entry = self._latest[key, kind] = Entry(key, kind, report)
            self._waiting.append(entry)
            self.ready.set()
        return entry.report

    def take(self) -> list[Entry]:
        """Take the reports to send next, as many as a message may hold."""
        taken: list[Entry] = []
        waiting, size = self._waiting, 0
        while waiting and len(taken) < _MOST_REPORTS:
            entry = waiting[0]
            size += entry.report.ByteSize()
            if taken and size > MOST_BYTES:
                break
            taken.append(waiting.popleft())
            if entry.kind is not Kind.END:
                self._left(entry)
        return taken

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Take back what was sent on a stream that ended without receipts, to send it again."""
        again = [entry for entry in entries if entry.key in self._open and not self._merged(entry)]
        self._output_bytes += sum(
            len(entry.report.output.data) for entry in again if entry.kind is Kind.OUTPUT
        )
        self._waiting.extendleft(reversed(again))
        if self._waiting:
            self.ready.set()

    def acknowledged(self, entry: Entry) -> None:
        """Take a receipt that says that a report counts."""
        if entry.kind is Kind.END:
            self._open.discard(entry.key)
            if not self._open:
                self._settled.set()

    async def settled(self) -> None:
        """Wait until nothing is under way and everything is acknowledged."""
        while self._open:
            self._settled.clear()
            await self._settled.wait()

    def _merged(self, entry: Entry) -> bool:
        """Let a later report of its kind stand for one that is to be sent again."""
        later = self._latest.get((entry.key, entry.kind))
        if later is None:
            return False
        if entry.kind is Kind.HEARTBEAT:
            merged = entry.report.heartbeat
            merge_heartbeat(merged, later.report.heartbeat)
            later.report.heartbeat.CopyFrom(merged)
        return True

    def _left(self, entry: Entry) -> None:
        if entry.kind is Kind.OUTPUT:
            self._output_bytes -= len(entry.report.output.data)
            if self._output_bytes < _MOST_WAITING:
                self.room.set()
        else:
            self._latest.pop((entry.key, entry.kind), None)


def merge_heartbeat(
    heartbeat: dispatch_service_pb2.TaskHeartbeat, later: dispatch_service_pb2.TaskHeartbeat
) -> None:
    """Add a later heartbeat to an earlier one: its checkpoint replaces, its usage adds up."""
    tokens, cost = heartbeat.usage.tokens, heartbeat.usage.cost
    if later.HasField("checkpoint"):
        heartbeat.checkpoint.CopyFrom(later.checkpoint)
    if later.HasField("usage"):
        heartbeat.usage.tokens = tokens + later.usage.tokens
        heartbeat.usage.cost = cost + later.usage.cost


def key_of(lease: dispatch_service_pb2.Lease) -> Key:
    """Return what names a lease."""
    return lease.task_id, lease.epoch


def lease_of(key: Key) -> Any:
    """Return the message that names a lease."""
    return dispatch_service_pb2.Lease(task_id=key[0], epoch=key[1])
