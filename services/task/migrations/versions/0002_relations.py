"""What ties and steers tasks: lanes, requests, dependencies, limits, budgets, pauses, builds."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _lanes()
    _relations()
    _steering()


def _lanes() -> None:
    op.execute(
        """
        CREATE TABLE lanes (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            capability text NOT NULL,
            priority smallint NOT NULL,
            placement text NOT NULL,
            fairness_key text NOT NULL,
            bucket smallint NOT NULL,
            weight double precision NOT NULL,
            use_time timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX lanes_by_use ON lanes (use_time)")
    # A placement may be longer than an index entry, hence its digest.
    op.execute(
        """
        CREATE UNIQUE INDEX lanes_key ON lanes
        (tenant, capability, priority, md5(placement), fairness_key, bucket)
        """
    )


def _relations() -> None:
    # Labels, attributes and the like that tasks can be listed by, as digests: a row for each, and
    # none for a task without. An index over the documents themselves would be written anew with
    # each change of a task's state, and could not be walked in order.
    op.execute(
        """
        CREATE TABLE task_terms (
            term bigint NOT NULL,
            create_time timestamptz NOT NULL,
            task_id uuid NOT NULL,
            PRIMARY KEY (term, create_time, task_id)
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
        """
    )
    op.execute(
        """
        CREATE TABLE task_requests (
            tenant text NOT NULL,
            request_id text NOT NULL,
            task_id uuid NOT NULL,
            digest bytea NOT NULL,
            PRIMARY KEY (tenant, request_id)
        )
        """
    )
    op.execute("CREATE INDEX task_requests_by_task ON task_requests (task_id)")
    op.execute(
        """
        CREATE TABLE task_dependencies (
            depends_on uuid NOT NULL,
            task_id uuid NOT NULL,
            condition text NOT NULL,
            PRIMARY KEY (depends_on, task_id)
        )
        """
    )
    op.execute("CREATE INDEX task_dependencies_by_task ON task_dependencies (task_id)")
    op.execute(
        """
        CREATE TABLE limits (
            tenant text NOT NULL,
            key text NOT NULL,
            places integer,
            strategy text NOT NULL,
            taken integer NOT NULL,
            members integer NOT NULL,
            units integer,
            period double precision NOT NULL,
            full_time timestamptz,
            waiting integer NOT NULL,
            next_units integer NOT NULL DEFAULT 1,
            paused_until timestamptz,
            turn bigint NOT NULL,
            due_time timestamptz,
            PRIMARY KEY (tenant, key)
        ) WITH (fillfactor = 70, autovacuum_vacuum_cost_delay = 0)
        """
    )
    op.execute("CREATE INDEX limits_due ON limits (due_time) WHERE due_time IS NOT NULL")
    op.execute(
        """
        CREATE TABLE limit_members (
            tenant text NOT NULL,
            key text NOT NULL,
            task_id uuid NOT NULL,
            PRIMARY KEY (tenant, key, task_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE budgets (
            root_id uuid PRIMARY KEY,
            max_depth integer NOT NULL,
            max_tasks bigint NOT NULL,
            max_tokens bigint NOT NULL,
            max_cost double precision NOT NULL,
            tasks bigint NOT NULL,
            tokens bigint NOT NULL,
            cost double precision NOT NULL
        )
        """
    )


def _steering() -> None:
    op.execute(
        """
        CREATE TABLE pauses (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            kind text NOT NULL CHECK (kind IN ('capability', 'key', 'agent')),
            target text NOT NULL,
            until timestamptz,
            reason text NOT NULL,
            creator text NOT NULL,
            create_time timestamptz NOT NULL DEFAULT now(),
            UNIQUE (tenant, kind, target)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE build_routings (
            tenant text NOT NULL,
            capability text NOT NULL,
            current_build_id text NOT NULL,
            ramping_build_id text NOT NULL,
            ramping_percent smallint NOT NULL,
            update_time timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, capability)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE connections (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            replica uuid NOT NULL,
            agent_id uuid NOT NULL,
            agent_name text NOT NULL,
            process_id text NOT NULL,
            capabilities text[] NOT NULL,
            slots integer NOT NULL,
            held integer NOT NULL,
            build_id text NOT NULL,
            sdk text NOT NULL,
            connect_time timestamptz NOT NULL,
            last_seen_time timestamptz NOT NULL,
            task_ids uuid[] NOT NULL
        ) WITH (fillfactor = 70)
        """
    )
    op.execute("CREATE INDEX connections_by_tenant ON connections (tenant, agent_name)")
    op.execute(
        """
        CREATE TABLE bulk_operations (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            action text NOT NULL,
            filter text NOT NULL,
            state text NOT NULL,
            done bigint NOT NULL,
            refused bigint NOT NULL,
            total bigint NOT NULL,
            cursor_time timestamptz,
            cursor_id uuid,
            step uuid[] NOT NULL DEFAULT '{}',
            creator text NOT NULL,
            request_id text,
            request_digest bytea,
            create_time timestamptz NOT NULL,
            end_time timestamptz,
            claimant uuid,
            claim_time timestamptz
        )
        """
    )
    op.execute("CREATE INDEX bulk_operations_by_tenant ON bulk_operations (tenant, id)")
    op.execute(
        "CREATE INDEX bulk_operations_by_end ON bulk_operations (end_time)"
        " WHERE end_time IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX bulk_operations_running ON bulk_operations (id) WHERE state = 'running'"
    )
    op.execute(
        "CREATE UNIQUE INDEX bulk_operations_request_id ON bulk_operations (tenant, request_id)"
        " WHERE request_id IS NOT NULL"
    )
