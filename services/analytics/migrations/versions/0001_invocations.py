"""Invocations."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE invocations (
            tenant text NOT NULL,
            id uuid NOT NULL,
            record_id uuid NOT NULL,
            task_id uuid NOT NULL,
            capability text NOT NULL,
            agent_id uuid,
            agent_name text NOT NULL,
            caller text NOT NULL,
            outcome text NOT NULL,
            error_type text NOT NULL,
            attempts integer NOT NULL,
            queue_time double precision,
            latency double precision,
            end_time timestamptz NOT NULL,
            PRIMARY KEY (tenant, id)
        )
        """
    )
    op.execute("CREATE INDEX invocations_by_record ON invocations (tenant, record_id)")
    op.execute("CREATE INDEX invocations_by_end ON invocations (tenant, end_time)")
    op.execute("CREATE INDEX invocations_by_task ON invocations (tenant, task_id, record_id)")
    op.execute("CREATE INDEX invocations_by_agent ON invocations (tenant, agent_id, record_id)")
    op.execute(
        "CREATE INDEX invocations_by_capability ON invocations (tenant, capability, record_id)"
    )
    op.execute("CREATE INDEX invocations_by_outcome ON invocations (tenant, outcome, record_id)")
