"""Tasks, their histories, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tasks (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            capability text NOT NULL,
            input bytea NOT NULL,
            priority smallint NOT NULL,
            labels jsonb NOT NULL,
            max_attempts integer NOT NULL,
            state text NOT NULL
                CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
            attempt integer NOT NULL,
            epoch bigint NOT NULL,
            agent_id uuid,
            agent_name text NOT NULL,
            progress_fraction double precision,
            progress_message text,
            result bytea,
            error_type text,
            error_message text,
            creator text NOT NULL,
            request_id text,
            request_digest bytea,
            create_time timestamptz NOT NULL,
            ready_time timestamptz NOT NULL,
            start_time timestamptz,
            end_time timestamptz,
            lease_expire_time timestamptz,
            last_sequence bigint NOT NULL
        ) WITH (
            fillfactor = 85,
            autovacuum_vacuum_scale_factor = 0.02,
            autovacuum_vacuum_cost_delay = 0
        )
        """
    )
    # The queue: one narrow range per tenant and capability, in the order tasks go out.
    op.execute(
        """
        CREATE INDEX tasks_queue ON tasks (tenant, capability, priority DESC, id)
        WHERE state = 'queued'
        """
    )
    op.execute(
        """
        CREATE INDEX tasks_retrying ON tasks (ready_time)
        WHERE state = 'queued' AND attempt > 0
        """
    )
    op.execute("CREATE INDEX tasks_leases ON tasks (lease_expire_time) WHERE state = 'running'")
    op.execute("CREATE INDEX tasks_by_tenant ON tasks (tenant, id DESC)")
    op.execute("CREATE INDEX tasks_by_state ON tasks (tenant, state, id DESC)")
    op.execute("CREATE INDEX tasks_by_capability ON tasks (tenant, capability, id DESC)")
    op.execute(
        """
        CREATE UNIQUE INDEX tasks_request_id ON tasks (tenant, request_id)
        WHERE request_id IS NOT NULL
        """
    )
    op.execute(
        """
        CREATE TABLE task_events (
            task_id uuid NOT NULL,
            sequence bigint NOT NULL,
            type text NOT NULL,
            time timestamptz NOT NULL DEFAULT clock_timestamp(),
            state text NOT NULL,
            attempt integer NOT NULL,
            agent_id uuid,
            progress_fraction double precision,
            progress_message text,
            error_type text,
            error_message text,
            PRIMARY KEY (task_id, sequence)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE outbox (
            id uuid PRIMARY KEY,
            type text NOT NULL,
            tenant text NOT NULL,
            key text NOT NULL,
            payload bytea NOT NULL,
            create_time timestamptz NOT NULL DEFAULT now(),
            claim_expire_time timestamptz
        )
        """
    )
