"""One decision, as it is put on record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

_LONGEST: Final = {
    "tenant": 128,
    "subject": 256,
    "actor": 1024,
    "method": 256,
    "resource": 256,
    "reason": 256,
    "request_id": 128,
    "address": 128,
    "service": 64,
}


class Decision(StrEnum):
    """What was decided about a call."""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"


@dataclass(frozen=True, slots=True)
class Record:
    """One decision or administrative act.

    Attributes:
        id: UUIDv7; what comes twice under an id is stored once.
        subject: Who called; empty if it had no good credential.
        actor: Who acted for the subject, the nearest first, parted by spaces.
        method: `/package.Service/Method`.
        resource: What the call was about, if it names anything.
        service: Which service decided.
    """

    id: UUID
    tenant: str
    time: datetime
    subject: str
    actor: str
    method: str
    resource: str
    decision: Decision
    reason: str
    request_id: str
    address: str
    service: str


def record_within_bounds(
    record_id: UUID, time: datetime, decision: Decision, **texts: str
) -> Record:
    """Make a record that the log accepts: texts are cut to their bounds and hold no NUL."""
    kept = {name: text.replace("\0", "")[: _LONGEST[name]] for name, text in texts.items()}
    return Record(id=record_id, time=time, decision=decision, **kept)
