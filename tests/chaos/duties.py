"""The tasks that an agent process works on, and what it reports of them, rightly or not."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from google.protobuf.struct_pb2 import Value

from agentmesh.payloads import from_struct
from mesh.task.v1 import dispatch_service_pb2 as api
from mesh.task.v1 import task_pb2
from tests.chaos.history import History
from tests.chaos.work import Deed, answer_to, deed

_REMEMBERED: Final = 50

Lease = tuple[str, int]
"""Id of a task, and the epoch."""


@dataclass(frozen=True, slots=True)
class Said:
    """A report, and what it is.

    Attributes:
        kind: For one that ends an attempt in earnest the name of its field; "progress",
            "heartbeat" and "output" for those before; "stale" on an epoch that is over,
            "late" after the end, and "contradiction" of an end that was reported.
    """

    kind: str
    report: api.Report

    @property
    def lease(self) -> Lease:
        """What it is about."""
        return lease_of(self.report.lease)


class Duties:
    """Executes tasks, and misbehaves: reports twice, out of order, too late, and against itself.

    Attributes:
        outgoing: What is to be sent next.
    """

    def __init__(self, history: History, chance: random.Random) -> None:
        self._history = history
        self._chance = chance
        self._working: dict[Lease, asyncio.Task[None]] = {}
        self._ends: dict[Lease, Said] = {}
        self._over: deque[Lease] = deque(maxlen=_REMEMBERED)
        self._sent: deque[Said] = deque()
        self.outgoing: asyncio.Queue[api.DispatchRequest | Said] = asyncio.Queue()

    def connect(self) -> None:
        """Begin anew on another stream: nothing is under way on it."""
        self.outgoing = asyncio.Queue()
        self._sent.clear()

    def holding(self) -> list[api.Lease]:
        """Return the leases that are held, as far as is known here."""
        return [lease_message(each) for each in {**self._working, **self._ends}]

    def lies(self) -> list[Lease]:
        """Return leases that are certainly not held, to be claimed all the same."""
        if self._chance.random() < 0.3:
            return []
        held = list(self._working)[:3]
        made_up = [(str(uuid4()), 1), *((task, epoch + 3) for task, epoch in held)]
        past = [(task, epoch - 1) for task, epoch in held if epoch > 1]
        return [*made_up, *past, *list(self._over)[-5:]]

    def found_out(self, lies: Sequence[Lease], lost: Iterable[api.Lease]) -> None:
        """Note which lies were believed, of those that a hello told."""
        known = {lease_of(each) for each in lost}
        for lie in lies:
            if lie not in known:
                self._note("believed", lie)

    def say_again(self) -> None:
        """Report again what had no receipt on an earlier stream."""
        for end in self._ends.values():
            self.outgoing.put_nowait(end)

    def begin(self, assignments: Iterable[api.Assignment]) -> None:
        """Start on tasks."""
        for assignment in assignments:
            lease = lease_of(assignment.lease)
            answered = assignment.HasField("answer")
            self._note("start", lease, answered=answered)
            if answered and assignment.answer.string_value != answer_to(lease[0]):
                self._note("wrong answer", lease)
            self._working[lease] = asyncio.create_task(self._execute(lease, assignment))

    def settle(self, receipts: Iterable[api.Receipt]) -> None:
        """Take the receipts of what was sent, in the order in which it was sent."""
        for receipt in receipts:
            lease, said = lease_of(receipt.lease), self._sent.popleft() if self._sent else None
            if said is None or said.lease != lease:
                self._note("disorder", lease)
                continue
            self._note("receipt", lease, kind=said.kind, accepted=receipt.accepted)
            if self._ends.get(lease) is said:
                del self._ends[lease]
                self._over.append(lease)

    def sent(self, reports: Iterable[Said]) -> None:
        """Note what was sent."""
        self._sent.extend(reports)

    def forget(self, leases: Iterable[api.Lease]) -> None:
        """Stop tasks whose leases are lost."""
        for lease in map(lease_of, leases):
            # Some don't listen: they go on, and report what nobody wants to know.
            if self._chance.random() < 0.5 and (work := self._working.pop(lease, None)):
                work.cancel()
                self._ends.pop(lease, None)

    def stop(self, leases: Iterable[api.Lease]) -> None:
        """Stop tasks whose cancellation was asked for; some don't."""
        for each in leases:
            lease = lease_of(each)
            if self._chance.random() < 0.8 and (work := self._working.pop(lease, None)):
                work.cancel()
                self._end(Said("stopped", api.Report(lease=each, stopped=api.Stopped())))

    async def _execute(self, lease: Lease, assignment: api.Assignment) -> None:
        task, said = assignment.task, from_struct(assignment.task.input)
        if "work" not in said:
            self._note("hollow", lease)
            return
        if self._chance.random() < 0.05:
            self._say_something(lease)
        await asyncio.sleep(said["work"])
        answered = assignment.HasField("answer")
        wanted = deed(said, attempt=task.attempt, epoch=lease[1], answered=answered)
        await self._report(lease, _ending(lease, wanted))

    async def _report(self, lease: Lease, end: Said) -> None:
        draw = self._chance.random()
        if draw < 0.02:
            # Out of order.
            await asyncio.sleep(self._chance.random())
        self._working.pop(lease, None)
        if lease[1] > 1 and self._chance.random() < 0.2:
            self.outgoing.put_nowait(_stale(lease))
        self._end(end)
        if lease[1] > 1 and self._chance.random() < 0.2:
            self.outgoing.put_nowait(_stale(lease))
        if 0.02 < draw < 0.06:
            self.outgoing.put_nowait(end)
        elif 0.06 < draw < 0.1:
            self.outgoing.put_nowait(_contradiction(end))
        elif 0.1 < draw < 0.14:
            self.outgoing.put_nowait(_late(end))

    def _end(self, end: Said) -> None:
        self._ends[end.lease] = end
        self.outgoing.put_nowait(end)

    def _say_something(self, lease: Lease) -> None:
        report = api.Report(lease=lease_message(lease))
        kind = self._chance.choice(("progress", "heartbeat", "output"))
        match kind:
            case "progress":
                report.progress.fraction = self._chance.random()
            case "heartbeat":
                report.heartbeat.checkpoint.string_value = "so far"
            case _:
                report.output.data = b"a piece"
        self.outgoing.put_nowait(Said(kind, report))

    def _note(self, ev: str, lease: Lease, **more: Any) -> None:
        self._history.add(ev=ev, task=lease[0], epoch=lease[1], time=time.time(), **more)


def lease_of(lease: api.Lease) -> Lease:
    """Return what a message names."""
    return lease.task_id, lease.epoch


def lease_message(lease: Lease) -> api.Lease:
    """Return the message that names a lease."""
    return api.Lease(task_id=lease[0], epoch=lease[1])


def _ending(lease: Lease, wanted: Deed) -> Said:
    report = api.Report(lease=lease_message(lease))
    match wanted.kind:
        case "ask":
            report.pause.kind = task_pb2.TaskPause.KIND_INPUT_REQUIRED
            report.pause.prompt = "How to go on?"
            return Said("pause", report)
        case "fail":
            report.failure.error.type = wanted.error
            report.failure.retryable = wanted.retryable
            if wanted.pause_key:
                report.failure.pause_key = wanted.pause_key
                report.failure.retry_after.FromNanoseconds(round(wanted.retry_after * 1e9))
            return Said("failure", report)
        case "release":
            report.release.SetInParent()
            return Said("release", report)
    report.completion.result.CopyFrom(Value(string_value=f"{lease[1]}"))
    return Said("completion", report)


def _stale(lease: Lease) -> Said:
    report = api.Report(lease=lease_message((lease[0], lease[1] - 1)))
    report.completion.SetInParent()
    return Said("stale", report)


def _late(end: Said) -> Said:
    report = api.Report(lease=end.report.lease, progress=task_pb2.TaskProgress(fraction=0.5))
    return Said("late", report)


def _contradiction(end: Said) -> Said:
    report = api.Report(lease=end.report.lease)
    if end.kind == "completion":
        report.failure.error.type = "Contradiction"
    else:
        report.completion.SetInParent()
    return Said("contradiction", report)
