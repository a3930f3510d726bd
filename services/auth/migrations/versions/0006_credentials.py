"""Credentials for external services."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE service_credentials (
            tenant text NOT NULL,
            name text COLLATE "C" NOT NULL,
            kind text NOT NULL,
            settings jsonb NOT NULL,
            sealed_key bytea NOT NULL,
            sealed_secret bytea NOT NULL,
            create_time timestamptz NOT NULL,
            update_time timestamptz NOT NULL,
            PRIMARY KEY (tenant, name)
        )
        """
    )
