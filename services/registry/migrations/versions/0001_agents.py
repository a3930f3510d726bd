"""Agents and their capabilities."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    # Heartbeats rewrite rows in place, which wants room in the page and no index on what they set.
    op.execute(
        """
        CREATE TABLE agents (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            name text NOT NULL,
            description text NOT NULL,
            labels jsonb NOT NULL,
            create_time timestamptz NOT NULL,
            heartbeat_time timestamptz NOT NULL,
            lease_expire_time timestamptz NOT NULL,
            CONSTRAINT agents_tenant_name_key UNIQUE (tenant, name)
        ) WITH (fillfactor = 80)
        """
    )
    op.execute("CREATE INDEX agents_by_tenant ON agents (tenant, id DESC)")
    op.execute(
        """
        CREATE TABLE agent_capabilities (
            agent_id uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
            name text NOT NULL,
            tenant text NOT NULL,
            version text NOT NULL,
            description text NOT NULL,
            position integer NOT NULL,
            PRIMARY KEY (agent_id, name)
        )
        """
    )
    op.execute(
        "CREATE INDEX agent_capabilities_by_name ON agent_capabilities (tenant, name, agent_id)"
    )
