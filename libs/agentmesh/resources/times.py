"""Times in messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def time_in(message: Any, name: str) -> datetime | None:
    """Return the time in a field, or None if it is unset."""
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None
