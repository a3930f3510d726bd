"""The chain that the records of a tenant form, and statements of how far it has come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from meshkit.audit.record import Record

GENESIS: Final = "0" * 64
"""What stands for the hash before the first record."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain has come: place and hash of its last record."""

    sequence: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Link:
    """A record in its place of the chain."""

    record: Record
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of how far a chain has come.

    Attributes:
        signature: Ed25519 over the `statement`, in base64url.
    """

    tenant: str
    sequence: int
    hash: str
    time: datetime
    key_id: str
    signature: str


def linked(head: Head, records: Iterable[Record]) -> list[Link]:
    """Return the records in the places after the head."""
    links = []
    for record in records:
        head = Head(head.sequence + 1, digest(record, head.sequence + 1, head.hash))
        links.append(Link(record, head.sequence, head.hash))
    return links


def digest(record: Record, sequence: int, previous: str) -> str:
    """Return the hash of a record, as its proto promises."""
    time = record.time.astimezone(UTC).replace(tzinfo=None)
    members = {
        "actor": record.actor,
        "address": record.address,
        "decision": record.decision.value,
        "id": str(record.id),
        "method": record.method,
        "previous_hash": previous,
        "reason": record.reason,
        "request_id": record.request_id,
        "resource": record.resource,
        "sequence": sequence,
        "service": record.service,
        "subject": record.subject,
        "tenant": record.tenant,
        "time": time.isoformat(timespec="microseconds") + "Z",
    }
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def statement(tenant: str, head: Head) -> str:
    """Write what a checkpoint signs."""
    return f"agentmesh audit {tenant} {head.sequence} {head.hash}"
