"""What callers do to steer the tasks of a tenant: pauses, and which builds get them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class PauseKind(StrEnum):
    """What a pause holds."""

    CAPABILITY = "capability"
    KEY = "key"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Pause:
    """Keeps tasks from going out.

    Attributes:
        target: The capability, the key, or the agent's id.
        until: When it ends by itself; None for when it is ended.
    """

    id: UUID
    tenant: str
    kind: PauseKind
    target: str
    until: datetime | None
    reason: str
    creator: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class BuildRouting:
    """Which builds get the tasks of a capability that name no build themselves.

    Attributes:
        ramping_build_id: Build that gets `ramping_percent` of them; empty for none.
    """

    tenant: str
    capability: str
    current_build_id: str
    ramping_build_id: str
    ramping_percent: int
    update_time: datetime
