"""Tools and their contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Schema = Mapping[str, Any]
"""A JSON Schema, as plain JSON."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a tool is.

    Attributes:
        capability: Capability of the agents that provide the tool.
        output_schema: None if the output may be anything.
    """

    name: str
    version: str
    description: str
    capability: str
    input_schema: Schema
    output_schema: Schema | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A catalogued version of a tool.

    Attributes:
        creator: Subject that created it.
    """

    id: UUID
    definition: Definition
    creator: str
    create_time: datetime
