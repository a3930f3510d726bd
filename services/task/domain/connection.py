"""An agent process on its stream, as every replica may see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of one stream.

    Attributes:
        held: How many tasks it holds.
        task_ids: The first hundred of these.
        last_seen_time: When its agent was last heard of; None while it is not stored.
    """

    id: UUID
    tenant: str
    agent_id: UUID
    agent_name: str
    process_id: str
    capabilities: tuple[str, ...]
    slots: int
    held: int
    build_id: str
    sdk: str
    connect_time: datetime
    task_ids: tuple[UUID, ...]
    last_seen_time: datetime | None = None
