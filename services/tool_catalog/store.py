"""SQL of the tool catalogue."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import constraint_of
from meshkit.paging import PageRequest
from services.tool_catalog.domain import Definition, Tool, ToolFilter
from services.tool_catalog.errors import ToolExists
from services.tool_catalog.tables import ToolRow

_NAME_AND_VERSION = "tools_tenant_name_version_key"


async def insert_tool(
    connection: AsyncConnection, tenant: str, tool_id: UUID, definition: Definition, creator: str
) -> Tool:
    """Store a tool and return it.

    Raises:
        ToolExists: The tenant has a tool of this name and version.
    """
    statement = insert(ToolRow).values(
        id=tool_id,
        tenant=tenant,
        name=definition.name,
        version=definition.version,
        description=definition.description,
        capability=definition.capability,
        input_schema=definition.input_schema,
        output_schema=definition.output_schema,
        tags=list(definition.tags),
        creator=creator,
        create_time=func.now(),
    )
    try:
        row = (await connection.execute(statement.returning(*ToolRow.__table__.columns))).one()
    except IntegrityError as error:
        if constraint_of(error) == _NAME_AND_VERSION:
            raise ToolExists(definition.name, definition.version) from error
        raise
    return _tool(row)


async def get_tool(connection: AsyncConnection, tenant: str, tool_id: UUID) -> Tool | None:
    """Return a tool of the tenant, or None."""
    row = (await connection.execute(_tools(tenant).where(ToolRow.id == tool_id))).one_or_none()
    return None if row is None else _tool(row)


async def list_tools(
    connection: AsyncConnection, tenant: str, wanted: ToolFilter, page: PageRequest
) -> list[Tool]:
    """Return up to `page.size + 1` tools of the tenant, the newest first."""
    query = _tools(tenant)
    if wanted.name is not None:
        query = query.where(ToolRow.name == wanted.name)
    if wanted.version is not None:
        query = query.where(ToolRow.version == wanted.version)
    if wanted.capability is not None:
        query = query.where(ToolRow.capability == wanted.capability)
    if wanted.tag is not None:
        query = query.where(ToolRow.tags.contains([wanted.tag]))
    if page.after is not None:
        query = query.where(ToolRow.id < page.after)
    rows = await connection.execute(query.order_by(ToolRow.id.desc()).limit(page.size + 1))
    return [_tool(row) for row in rows]


def _tools(tenant: str) -> Select[Any]:
    return select(ToolRow.__table__).where(ToolRow.tenant == tenant)


def _tool(row: Any) -> Tool:
    return Tool(
        id=row.id,
        definition=Definition(
            name=row.name,
            version=row.version,
            description=row.description,
            capability=row.capability,
            input_schema=row.input_schema,
            output_schema=row.output_schema,
            tags=tuple(row.tags),
        ),
        creator=row.creator,
        create_time=row.create_time,
    )
