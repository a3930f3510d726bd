"""Plans that stay what they are, on a connection that others use for other things."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "jit": "off",
}
"""With these every row is found by an index in its order, whatever the statistics say."""

_PIN: Final = text(
    "SELECT "
    + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in SETTINGS.items())
)


async def pin_plans(connection: AsyncConnection) -> None:
    """Have the rest of this transaction find rows by indexes only."""
    await connection.execute(_PIN)
