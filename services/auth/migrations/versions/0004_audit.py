"""The audit log: records in a chain for each tenant, the heads of the chains, and checkpoints."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE audit_records (
            tenant text NOT NULL,
            sequence bigint NOT NULL,
            id uuid NOT NULL UNIQUE,
            time timestamptz NOT NULL,
            subject text NOT NULL,
            actor text NOT NULL,
            method text NOT NULL,
            resource text NOT NULL,
            decision text NOT NULL,
            reason text NOT NULL,
            request_id text NOT NULL,
            address text NOT NULL,
            service text NOT NULL,
            hash text NOT NULL,
            PRIMARY KEY (tenant, sequence)
        )
        """
    )
    op.execute("CREATE INDEX audit_records_by_time ON audit_records (tenant, time)")
    op.execute(
        "CREATE INDEX audit_records_by_subject ON audit_records"
        " (tenant, nullif(subject, ''), sequence)"
    )
    op.execute(
        """
        CREATE TABLE audit_chains (
            tenant text PRIMARY KEY,
            sequence bigint NOT NULL,
            hash text NOT NULL,
            signed_sequence bigint NOT NULL DEFAULT 0,
            signed_by text NOT NULL DEFAULT '',
            sign_time timestamptz NOT NULL DEFAULT '-infinity'
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit_checkpoints (
            tenant text NOT NULL,
            sequence bigint NOT NULL,
            key_id text NOT NULL,
            hash text NOT NULL,
            time timestamptz NOT NULL,
            signature text NOT NULL,
            PRIMARY KEY (tenant, sequence, key_id)
        )
        """
    )
    # By trigger, so that it holds for the owner of the tables as well, who runs the migrations.
    op.execute(
        """
        CREATE FUNCTION refuse_to_change_the_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is only ever appended to: % of % is refused',
                TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END
        $$
        """
    )
    for table in ("audit_records", "audit_checkpoints"):
        op.execute(
            f"""
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_audit_log()
            """
        )
