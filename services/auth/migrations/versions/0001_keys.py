"""API keys and signing keys."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE api_keys (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            display_name text NOT NULL,
            roles text[] NOT NULL,
            subject text NOT NULL,
            digest bytea NOT NULL,
            creator text NOT NULL,
            create_time timestamptz NOT NULL,
            expire_time timestamptz,
            revoke_time timestamptz
        )
        """
    )
    op.execute("CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id DESC)")
    op.execute(
        """
        CREATE TABLE signing_keys (
            id text PRIMARY KEY,
            sealed_private_key bytea NOT NULL,
            public_key bytea NOT NULL,
            create_time timestamptz NOT NULL
        )
        """
    )
