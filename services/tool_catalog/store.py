"""SQL of the tool catalogue."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import constraint_of
from meshkit.filtering import Columns, Filter, to_sql
from meshkit.paging import Keyset, paged
from services.tool_catalog.domain import Definition, Tool
from services.tool_catalog.errors import ToolExists
from services.tool_catalog.tables import ToolRow

_NAME_AND_VERSION = "tools_tenant_name_version_key"
_SORT_COLUMNS = {"id": ToolRow.id}
_FILTER_COLUMNS: Columns = {
    "name": ToolRow.name,
    "version": ToolRow.version,
    "capability": ToolRow.capability,
    "tag": ToolRow.tags,
}


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
    connection: AsyncConnection, tenant: str, wanted: Filter | None, page: Keyset
) -> list[Tool]:
    """Return up to `page.size + 1` tools of the tenant, in the order of the page."""
    query = _tools(tenant)
    if wanted is not None:
        query = query.where(to_sql(wanted, _FILTER_COLUMNS))
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
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
