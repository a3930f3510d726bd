"""Tables of limits."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Unlogged: to lose what callers have used up, in a crash, only forgives them. In return no
    # call waits for the disk. Half of each page is left free, so that updates stay on it.
    op.execute(
        """
        CREATE UNLOGGED TABLE rate_limits (
            tenant text NOT NULL,
            subject text NOT NULL,
            tat timestamptz NOT NULL,
            given bigint NOT NULL,
            PRIMARY KEY (tenant, subject)
        ) WITH (fillfactor = 50)
        """
    )
    op.execute(
        """
        CREATE TABLE rate_limit_overrides (
            tenant text NOT NULL,
            subject text NOT NULL,
            per_second double precision NOT NULL,
            burst bigint NOT NULL,
            PRIMARY KEY (tenant, subject)
        )
        """
    )
