"""Users, their sessions, tokens to choose a password with, and failed sign-ins."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE users (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            email text NOT NULL,
            folded_email text NOT NULL CONSTRAINT users_folded_email UNIQUE,
            display_name text NOT NULL,
            password_hash text,
            create_time timestamptz NOT NULL,
            last_login_time timestamptz,
            disable_time timestamptz
        )
        """
    )
    op.execute("CREATE INDEX users_by_tenant ON users (tenant, id DESC)")
    op.execute(
        """
        CREATE TABLE sessions (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            user_id uuid NOT NULL REFERENCES users,
            create_time timestamptz NOT NULL,
            refresh_time timestamptz NOT NULL,
            expire_time timestamptz NOT NULL,
            address text NOT NULL,
            user_agent text NOT NULL,
            end_time timestamptz,
            reused boolean NOT NULL,
            current bytea NOT NULL,
            predecessor bytea,
            replace_time timestamptz
        )
        """
    )
    op.execute("CREATE INDEX sessions_by_user ON sessions (user_id, id DESC)")
    op.execute("CREATE INDEX sessions_by_end ON sessions (coalesce(end_time, expire_time))")
    op.execute(
        """
        CREATE TABLE password_tokens (
            user_id uuid PRIMARY KEY REFERENCES users,
            digest bytea NOT NULL CONSTRAINT password_tokens_digest UNIQUE,
            expire_time timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX password_tokens_by_expiry ON password_tokens (expire_time)")
    op.execute(
        """
        CREATE TABLE sign_in_failures (
            address bytea PRIMARY KEY,
            failures integer NOT NULL,
            begin_time timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX sign_in_failures_by_age ON sign_in_failures (begin_time)")
