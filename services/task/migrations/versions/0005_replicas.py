"""Replicas: each says that it lives, so that not every connection has to be told of again."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE replicas (
            id uuid PRIMARY KEY,
            told_time timestamptz NOT NULL
        ) WITH (fillfactor = 50)
        """
    )
