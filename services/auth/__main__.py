"""The auth process: `python -m services.auth`, and `… create-key` for the first keys."""

from __future__ import annotations

import sys
from functools import partial

from meshkit.foundation import foundation
from meshkit.process import run
from services.auth.create_key import MIGRATIONS, create_key
from services.auth.replica import Replica
from services.auth.settings import Settings


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    async with foundation(settings, service="auth", migrations=MIGRATIONS) as base:
        replica = Replica(base.database, settings.auth, settings.identity)
        await replica.prepare()
        server = base.server(replica.verifier, audit=replica.audit_log, limiter=replica.limiter)
        replica.add_to(server)
        await server.serve(beside=replica.background())


if __name__ == "__main__":
    if sys.argv[1:2] == ["create-key"]:
        run(partial(create_key, sys.argv[2:]))
    run(serve)
