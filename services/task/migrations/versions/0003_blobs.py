"""Blobs: their descriptions, and the pieces of those that are kept in the database."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE blobs (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            state text NOT NULL CHECK (state IN ('uploading', 'stored', 'removing')),
            store text NOT NULL,
            content_type text NOT NULL,
            size bigint NOT NULL DEFAULT 0,
            sha256 bytea NOT NULL DEFAULT '',
            uses integer NOT NULL DEFAULT 0 CHECK (uses >= 0),
            create_time timestamptz NOT NULL DEFAULT now(),
            expire_time timestamptz,
            CHECK (state <> 'stored' OR (uses > 0) = (expire_time IS NULL))
        ) WITH (fillfactor = 85)
        """
    )
    op.execute("CREATE INDEX blobs_expiring ON blobs (expire_time) WHERE expire_time IS NOT NULL")
    op.execute(
        """
        CREATE TABLE blob_pieces (
            blob_id uuid NOT NULL REFERENCES blobs,
            number integer NOT NULL,
            data bytea NOT NULL,
            PRIMARY KEY (blob_id, number)
        )
        """
    )
    # Most of what is large is compressed already; to try once more costs more than it gains.
    op.execute("ALTER TABLE blob_pieces ALTER COLUMN data SET STORAGE EXTERNAL")
