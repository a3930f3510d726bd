"""Tools."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tools (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            name text NOT NULL,
            version text NOT NULL,
            description text NOT NULL,
            capability text NOT NULL,
            input_schema json NOT NULL,
            output_schema json,
            tags text[] NOT NULL,
            creator text NOT NULL,
            create_time timestamptz NOT NULL,
            CONSTRAINT tools_tenant_name_version_key UNIQUE (tenant, name, version)
        )
        """
    )
    op.execute("CREATE INDEX tools_by_tenant ON tools (tenant, id DESC)")
    op.execute("CREATE INDEX tools_by_capability ON tools (tenant, capability, id DESC)")
    op.execute("CREATE INDEX tools_by_tag ON tools USING gin (tags)")
