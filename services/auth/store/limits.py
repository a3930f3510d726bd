"""SQL of rate limits: what callers have used up, and the overrides."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Double, bindparam, delete, select, text
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.limits.gcra import TOLERANCE, wait
from meshkit.limits.limiter import Grant
from meshkit.limits.rate import RateLimit
from meshkit.paging import Keyset, paged
from services.auth.domain.limits import Override
from services.auth.tables import RateLimitOverrideRow as Row

# `meshkit.limits.gcra.take` on the database's clock, which is read once the row is locked. Spans
# are rounded up to the microseconds of the clock, so that nothing is given away.
_TAKE: Final = text(
    f"""
    INSERT INTO rate_limits AS kept (tenant, subject, tat, given)
    SELECT :tenant, :subject, now + ceil(given / :rate * 1e6) * interval '1 microsecond', given
    FROM (
        SELECT coalesce(:now, clock_timestamp()) AS now, least(:calls, :burst) AS given
    ) AS first
    ON CONFLICT (tenant, subject) DO UPDATE SET (tat, given) = (
        SELECT start + ceil(given / :rate * 1e6) * interval '1 microsecond', given
        FROM (
            SELECT start, greatest(0, least(:calls, floor(:burst - (
                CAST(extract(epoch FROM start - now) AS float8) - {TOLERANCE}
            ) * :rate))) AS given
            FROM (
                SELECT now, least(
                    greatest(kept.tat, now),
                    now + ceil(:burst / :rate * 1e6) * interval '1 microsecond'
                ) AS start
                FROM (SELECT coalesce(:now, clock_timestamp()) AS now) AS clock
            ) AS begun
        ) AS counted
    )
    RETURNING given,
        CAST(extract(epoch FROM tat - coalesce(:now, clock_timestamp())) AS float8) AS ahead
    """  # noqa: S608 - the tolerance is a number of our own
).bindparams(
    bindparam("rate", type_=Double),
    bindparam("burst", type_=BigInteger),
    bindparam("calls", type_=BigInteger),
    bindparam("now", type_=TIMESTAMP(timezone=True)),
)

# A walk by the primary key: an index of the times would have to be kept at each call.
_FORGET: Final = text(
    """
    WITH step AS MATERIALIZED (
        SELECT tenant, subject FROM rate_limits
        WHERE (tenant, subject) > (:tenant, :subject) ORDER BY tenant, subject LIMIT :most
    ), forgotten AS (
        DELETE FROM rate_limits USING step
        WHERE rate_limits.tenant = step.tenant AND rate_limits.subject = step.subject
            AND rate_limits.tat < clock_timestamp() - interval '1 minute'
    )
    SELECT tenant, subject FROM step ORDER BY tenant DESC, subject DESC LIMIT 1
    """
)

_SORT_COLUMNS: Final = {"subject": Row.subject}
_INSERT: Final = insert(Row)
_PUT: Final = _INSERT.on_conflict_do_update(
    index_elements=[Row.tenant, Row.subject],
    set_={name: _INSERT.excluded[name] for name in ("per_second", "burst")},
)
_THIS: Final = (Row.tenant == bindparam("tenant_"), Row.subject == bindparam("subject_"))
_FIND: Final = select(Row.per_second, Row.burst).where(*_THIS)
_DELETE: Final = delete(Row).where(*_THIS)

Place = tuple[str, str]
"""Tenant and subject, where the walk over what callers have used up stands."""

BEGIN: Final[Place] = ("", "")
"""Where the walk begins."""


async def take_calls(
    connection: AsyncConnection,
    tenant: str,
    subject: str,
    limit: RateLimit,
    calls: int,
    *,
    now: datetime | None = None,
) -> Grant:
    """Take up to `calls` calls of a subject's limit, now by the database's clock."""
    values = {
        "tenant": tenant,
        "subject": subject,
        "rate": limit.per_second,
        "burst": limit.burst,
        "calls": calls,
        "now": now,
    }
    row = (await connection.execute(_TAKE, values)).one()
    return Grant(row.given, 0.0 if row.given else wait(row.ahead, limit))


async def forget_rested(
    connection: AsyncConnection, after: Place, most: int = 1000
) -> Place | None:
    """Forget callers with nothing used up among the next `most`; return where to go on, if so."""
    values = {"tenant": after[0], "subject": after[1], "most": most}
    row = (await connection.execute(_FORGET, values)).one_or_none()
    return None if row is None else (row.tenant, row.subject)


async def put_override(connection: AsyncConnection, tenant: str, override: Override) -> None:
    """Store an override in place of an earlier one."""
    limit = override.limit
    row = {"per_second": limit.per_second, "burst": limit.burst}
    await connection.execute(_PUT, {"tenant": tenant, "subject": override.subject, **row})


async def find_override(connection: AsyncConnection, tenant: str, subject: str) -> RateLimit | None:
    """Return the override of a subject, or None."""
    row = (await connection.execute(_FIND, _this(tenant, subject))).one_or_none()
    return None if row is None else RateLimit(row.per_second, row.burst)


async def list_overrides(connection: AsyncConnection, tenant: str, page: Keyset) -> list[Override]:
    """Return up to `page.size + 1` overrides of the tenant, in the order of the page."""
    query = select(Row.subject, Row.per_second, Row.burst).where(Row.tenant == tenant)
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [Override(row.subject, RateLimit(row.per_second, row.burst)) for row in rows]


async def delete_override(connection: AsyncConnection, tenant: str, subject: str) -> bool:
    """Forget an override; return whether there was one."""
    return (await connection.execute(_DELETE, _this(tenant, subject))).rowcount > 0


def _this(tenant: str, subject: str) -> dict[str, str]:
    return {"tenant_": tenant, "subject_": subject}
