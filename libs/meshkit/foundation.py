"""What every service process stands on, from its settings to its server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from meshkit.audit import AuthSink, Recorder, Sink
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.limits.limiter import Limiter
from meshkit.limits.remote import AuthSource
from meshkit.security.credentials import CredentialVerifier
from meshkit.security.identity import Identity
from meshkit.server import Server
from meshkit.settings import ServiceSettings
from meshkit.telemetry.logs import configure_logs
from meshkit.telemetry.metrics import serve_metrics
from meshkit.telemetry.traces import tracing_interceptors


@dataclass
class Foundation:
    """A service's database, and what it builds its server from.

    Attributes:
        service: The service's name, for logs and traces.
        database: Migrated and open.
    """

    settings: ServiceSettings
    service: str
    database: Database

    @cached_property
    def identity(self) -> Identity:
        """How the service checks its callers and proves itself to its peers."""
        identity = Identity(self.settings.identity, self.settings.peers)
        identity.start()
        return identity

    def server(
        self,
        verifier: CredentialVerifier,
        audit: Sink | None = None,
        limiter: Limiter | None = None,
    ) -> Server:
        """Build the server; it is ready while the database answers.

        What it decides goes to `audit`, or else to the auth service; so do the questions of
        how many calls callers have left, unless there is a `limiter`.
        """
        sink = audit or AuthSink(self.identity.channels.to("auth"))
        if limiter is None:
            limiter = Limiter(AuthSource(self.identity.channels.to("auth")))
        return Server(
            self.settings.grpc,
            verifier=verifier,
            outermost=tracing_interceptors(self.settings.telemetry, service=self.service),
            log_calls=self.settings.log.calls,
            readiness=[self.database.ping],
            recorder=Recorder(sink, service=self.service, settings=self.settings.audit),
            limiter=limiter,
        )


@asynccontextmanager
async def foundation(
    settings: ServiceSettings, *, service: str, migrations: Path
) -> AsyncIterator[Foundation]:
    """Configure logs and metrics, migrate and open the database; close all at the end.

    Raises:
        Unavailable: The database can't be reached.
    """
    configure_logs(settings.log, service=service)
    serve_metrics(settings.metrics)
    database = Database(settings.database)
    if settings.database.migrate_at_start:
        await migrate(database.url, migrations)
    base = Foundation(settings, service, database)
    try:
        yield base
    finally:
        if "identity" in base.__dict__:
            await base.identity.close()
        await database.close()
