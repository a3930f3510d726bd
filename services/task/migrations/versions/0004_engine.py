"""The engine's tables: unfinished tasks, finished tasks apart, and a log of events.

Tasks of the former tables are carried over; their histories are.
"""

from __future__ import annotations

from alembic import op

from meshkit.events import outbox

revision = "0004"
down_revision = "0003"

# A task that ends leaves `tasks`, so that the table and its indexes stay as small as the work
# that there is. Both tables begin with the same columns.
_COMMON = """
    id uuid NOT NULL,
    tenant text NOT NULL,
    capability text NOT NULL,
    state text NOT NULL,
    priority smallint NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    epoch bigint NOT NULL,
    creator text NOT NULL,
    create_time timestamptz NOT NULL,
    ready_time timestamptz NOT NULL,
    last_sequence bigint NOT NULL,
    policy text,
    parent_id uuid,
    root_id uuid,
    depth smallint NOT NULL,
    replay_of uuid,
    agent_id uuid,
    agent_name text NOT NULL,
    progress_fraction double precision,
    progress_message text,
    error_type text,
    error_message text,
    tokens bigint NOT NULL,
    cost double precision NOT NULL,
    start_time timestamptz,
    input bytea NOT NULL,
    input_payload bytea,
    labels jsonb NOT NULL,
    attributes jsonb NOT NULL
"""


def upgrade() -> None:
    op.execute("ALTER TABLE tasks RENAME TO old_tasks")
    op.execute("ALTER TABLE task_events RENAME TO old_task_events")
    op.execute("ALTER INDEX tasks_pkey RENAME TO old_tasks_pkey")
    op.execute("ALTER INDEX task_events_pkey RENAME TO old_task_events_pkey")
    for index in ("queue", "retrying", "leases", "by_tenant", "by_state", "by_capability"):
        op.execute(f"DROP INDEX tasks_{index}")
    _tasks()
    _finished_tasks()
    _events()
    op.execute("DROP TABLE outbox")
    for statement in outbox.OUTBOX_DDL:
        op.execute(statement)
    _carry_over()
    op.execute("DROP TABLE old_tasks")
    op.execute("DROP TABLE old_task_events")


def _tasks() -> None:
    op.execute(
        f"""
        CREATE TABLE tasks (
            {_COMMON},
            lane bigint NOT NULL,
            blocked_by text,
            awaits integer NOT NULL,
            has_dependents boolean NOT NULL DEFAULT false,
            has_children boolean NOT NULL DEFAULT false,
            checkpoint bytea,
            answer bytea,
            pause bytea,
            seen_time timestamptz,
            lease_time timestamptz,
            cancel_request_time timestamptz,
            cancel_by timestamptz,
            due_time timestamptz,
            PRIMARY KEY (id),
            CHECK (state IN ('scheduled', 'queued', 'running', 'paused'))
        ) WITH (
            fillfactor = 85,
            autovacuum_vacuum_scale_factor = 0.02,
            autovacuum_vacuum_threshold = 1000,
            autovacuum_vacuum_insert_scale_factor = 0.1,
            autovacuum_vacuum_cost_delay = 0
        )
        """
    )
    op.execute(
        "CREATE INDEX tasks_queue ON tasks (lane, id) WHERE state = 'queued' AND blocked_by IS NULL"
    )
    op.execute("CREATE INDEX tasks_due ON tasks (due_time) WHERE due_time IS NOT NULL")
    # Lists and counts of every kind walk this one, a range of it for each state and priority.
    op.execute("CREATE INDEX tasks_list ON tasks (tenant, state, priority, create_time, id)")
    _list_by_family("tasks")
    op.execute(
        """
        CREATE INDEX tasks_blocked ON tasks (tenant, blocked_by, priority DESC, id)
        WHERE blocked_by IS NOT NULL
        """
    )
    op.execute(
        """
        CREATE INDEX tasks_blocked_in_turn ON tasks (tenant, blocked_by, lane, id)
        WHERE blocked_by IS NOT NULL
        """
    )
    # Which lanes hold tasks that no agent can take yet; those that go out at once are never in it.
    op.execute(
        """
        CREATE INDEX tasks_aside ON tasks (lane, state, id)
        WHERE state = 'scheduled' OR blocked_by IS NOT NULL
        """
    )


def _finished_tasks() -> None:
    op.execute(
        f"""
        CREATE TABLE finished_tasks (
            {_COMMON},
            result bytea,
            result_payload bytea,
            end_time timestamptz NOT NULL,
            PRIMARY KEY (id),
            CHECK (state IN ('succeeded', 'failed', 'cancelled', 'dead_lettered'))
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
        """
    )
    op.execute(
        "CREATE INDEX finished_tasks_list ON finished_tasks"
        " (tenant, state, priority, create_time, id)"
    )
    op.execute("CREATE INDEX finished_tasks_by_end ON finished_tasks (state, end_time, id)")
    _list_by_family("finished_tasks")


def _list_by_family(table: str) -> None:
    op.execute(
        f"CREATE INDEX {table}_by_parent ON {table} (parent_id, create_time, id)"
        " WHERE parent_id IS NOT NULL"
    )
    op.execute(
        f"CREATE INDEX {table}_by_root ON {table} (root_id, create_time, id)"
        " WHERE root_id IS NOT NULL"
    )


def _events() -> None:
    # Positions are in the order of the changes of each task. A transaction that has taken some may
    # commit after one that took later ones: see store/log.py.
    op.execute(
        """
        CREATE TABLE task_events (
            position bigint GENERATED ALWAYS AS IDENTITY,
            task_id uuid NOT NULL,
            tenant text NOT NULL,
            root_id uuid,
            sequence bigint NOT NULL,
            type text NOT NULL,
            time timestamptz NOT NULL,
            state text NOT NULL,
            attempt integer NOT NULL,
            epoch bigint NOT NULL,
            agent_id uuid,
            agent_name text NOT NULL,
            progress_fraction double precision,
            progress_message text,
            error_type text,
            error_message text,
            content_type text,
            data bytea,
            PRIMARY KEY (task_id, sequence)
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
        """
    )
    op.execute("CREATE INDEX task_events_log ON task_events (position)")
    op.execute(
        "CREATE INDEX task_events_by_root ON task_events (root_id, position)"
        " WHERE root_id IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX task_events_output ON task_events (time, position) WHERE type = 'output'"
    )
    # Retention tells here how far the log has lost events, but for output.
    op.execute("CREATE TABLE task_log (floor bigint NOT NULL)")
    op.execute("INSERT INTO task_log VALUES (0)")


_SHARED = """
    id, tenant, capability, state, priority, attempt, max_attempts, epoch, creator, create_time,
    ready_time, last_sequence, depth, agent_id, agent_name, progress_fraction, progress_message,
    error_type, error_message, tokens, cost, start_time, input, labels, attributes
"""
_SHARED_VALUES = """
    id, tenant, capability, state, priority, attempt, max_attempts, epoch, creator, create_time,
    ready_time, last_sequence, 0, agent_id, agent_name, progress_fraction, progress_message,
    error_type, error_message, 0, 0, start_time, input, labels, '{}'
"""


def _carry_over() -> None:
    op.execute(
        """
        INSERT INTO lanes
            (tenant, capability, priority, placement, fairness_key, bucket, weight)
        SELECT DISTINCT tenant, capability, priority, '', '', -1, 1
        FROM old_tasks WHERE end_time IS NULL
        """
    )
    op.execute(
        f"""
        INSERT INTO tasks ({_SHARED}, lane, awaits, seen_time, lease_time, due_time)
        SELECT {_SHARED_VALUES},
            (SELECT lanes.id FROM lanes WHERE (lanes.tenant, lanes.capability, lanes.priority)
                = (old_tasks.tenant, old_tasks.capability, old_tasks.priority)),
            0, start_time, lease_expire_time, lease_expire_time
        FROM old_tasks WHERE end_time IS NULL
        """  # noqa: S608 - the names are the table's own
    )
    op.execute(
        f"""
        INSERT INTO finished_tasks ({_SHARED}, result, end_time)
        SELECT {_SHARED_VALUES}, result, end_time
        FROM old_tasks WHERE end_time IS NOT NULL
        """  # noqa: S608 - the names are the table's own
    )
    op.execute(
        """
        INSERT INTO task_terms (term, create_time, task_id)
        SELECT ('x' || substr(encode(sha256(convert_to(
                concat_ws(chr(1), tenant, 'labels', key, 'text', value), 'UTF8')), 'hex'), 1, 16)
            )::bit(64)::bigint, create_time, id
        FROM old_tasks, jsonb_each_text(labels)
        ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        """
        INSERT INTO task_requests (tenant, request_id, task_id, digest)
        SELECT tenant, request_id, id, request_digest
        FROM old_tasks WHERE request_id IS NOT NULL
        """
    )
    op.execute(
        """
        INSERT INTO task_events
            (task_id, tenant, sequence, type, time, state, attempt, epoch, agent_id, agent_name,
             progress_fraction, progress_message, error_type, error_message)
        SELECT e.task_id, t.tenant, e.sequence, e.type, e.time, e.state, e.attempt, e.attempt,
            e.agent_id, t.agent_name, e.progress_fraction, e.progress_message, e.error_type,
            e.error_message
        FROM old_task_events AS e JOIN old_tasks AS t ON t.id = e.task_id
        ORDER BY e.time, e.task_id, e.sequence
        """
    )
