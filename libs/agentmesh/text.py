"""Words of others, made fit for a message."""

from __future__ import annotations

import logging

log = logging.getLogger("agentmesh")


def clean(text: str, limit: int) -> str:
    """Leave out what no message or database may hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")[:limit]


def words_of(error: BaseException) -> str:
    """Return what an error says, whatever saying it does."""
    try:
        return str(error)
    except Exception:
        log.exception("an error that has no words")
        return "(an error that has no words)"
