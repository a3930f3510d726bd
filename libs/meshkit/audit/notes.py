"""What a handler says about its call, for the record of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Notes:
    """What was said about a call; None for what wasn't."""

    subject: str | None = None
    tenant: str | None = None
    resource: str | None = None


_notes: ContextVar[Notes | None] = ContextVar("audit_notes", default=None)


def note(
    *, subject: str | None = None, tenant: str | None = None, resource: str | None = None
) -> None:
    """Say who calls, in which tenant, or what the call is about, where the call itself doesn't.

    For example who signs in, or the id of what was created. Does nothing in a call that isn't
    audited. What is said last counts; a streaming call is on record before its handler speaks.
    """
    notes = _notes.get()
    if notes is None:
        return
    notes.subject = notes.subject if subject is None else subject
    notes.tenant = notes.tenant if tenant is None else tenant
    notes.resource = notes.resource if resource is None else resource


def take_notes() -> Notes:
    """Begin to note what the handler of this call says."""
    notes = Notes()
    _notes.set(notes)
    return notes
