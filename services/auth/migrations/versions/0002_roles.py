"""Tenants' own roles, who has which, what else keys hold, and what was revoked."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE roles (
            tenant text NOT NULL,
            name text NOT NULL,
            description text NOT NULL,
            permissions text[] NOT NULL,
            inherits text[] NOT NULL,
            per_second double precision,
            burst bigint,
            create_time timestamptz NOT NULL,
            version bigint NOT NULL,
            PRIMARY KEY (tenant, name)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE role_bindings (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            subject text NOT NULL,
            role text NOT NULL,
            creator text NOT NULL,
            create_time timestamptz NOT NULL,
            UNIQUE (tenant, subject, role)
        )
        """
    )
    op.execute("CREATE INDEX role_bindings_by_tenant ON role_bindings (tenant, id DESC)")
    op.execute(
        """
        ALTER TABLE api_keys
            ADD COLUMN scopes text[] NOT NULL DEFAULT '{}',
            ADD COLUMN per_second double precision,
            ADD COLUMN burst bigint,
            ADD COLUMN tenants text[] NOT NULL DEFAULT '{}',
            ADD COLUMN last_used_time timestamptz,
            ADD COLUMN use_count bigint NOT NULL DEFAULT 0,
            ADD COLUMN rerolled_from uuid
        """
    )
    op.execute("CREATE INDEX api_keys_by_subject ON api_keys (tenant, subject, id DESC)")
    # Those that there are sign already.
    op.execute("ALTER TABLE signing_keys ADD COLUMN sign_time timestamptz")
    op.execute("UPDATE signing_keys SET sign_time = create_time")
    op.execute("ALTER TABLE signing_keys ALTER COLUMN sign_time SET NOT NULL")
    op.execute(
        """
        CREATE TABLE revocations (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            credential text NOT NULL,
            not_before timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX revocations_by_time ON revocations (not_before)")
