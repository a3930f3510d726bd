"""What callers want of the tool catalogue, one method each."""

from __future__ import annotations

from uuid import UUID

import structlog

from meshkit.database.engine import Database
from meshkit.filtering import Filter
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.principal import Principal
from services.tool_catalog import store
from services.tool_catalog.domain import Definition, Tool
from services.tool_catalog.errors import ToolNotFound
from services.tool_catalog.schemas import check_input_schema, check_schema

log = structlog.get_logger()


class Tools:
    """Catalogues tools and finds them."""

    def __init__(self, database: Database, *, ids: IdSource = uuid7) -> None:
        self._database = database
        self._ids = ids

    async def create(self, caller: Principal, definition: Definition) -> Tool:
        """Add a version of a tool to the caller's tenant.

        Raises:
            SchemaInvalid: One of the schemas is not acceptable.
            ToolExists: The tool has this version already.
        """
        check_input_schema(definition.input_schema, "tool.input_schema")
        if definition.output_schema is not None:
            check_schema(definition.output_schema, "tool.output_schema")
        tool_id = self._ids()
        tool = await self._database.transaction(
            lambda tx: store.insert_tool(tx, caller.tenant, tool_id, definition, caller.subject)
        )
        log.info("tool created", tool_id=str(tool_id), name=definition.name)
        return tool

    async def get(self, tenant: str, tool_id: UUID) -> Tool:
        """Return a tool of the tenant.

        Raises:
            ToolNotFound: There is none.
        """
        tool = await self._database.read(lambda tx: store.get_tool(tx, tenant, tool_id))
        if tool is None:
            raise ToolNotFound
        return tool

    async def list(self, tenant: str, wanted: Filter | None, page: Keyset) -> KeysetPage[Tool]:
        """Return a page of the tenant's tools; None for `wanted` selects all of them."""
        tools = await self._database.transaction(
            lambda tx: store.list_tools(tx, tenant, wanted, page)
        )
        return keyset_page(tools, page, lambda tool: {"id": tool.id})
