"""The task process: `python -m services.task`."""

from __future__ import annotations

from pathlib import Path

from mesh.task.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from mesh.task.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.database.notifications import Notifications
from meshkit.events import outbox
from meshkit.events.relay import Relay
from meshkit.process import run
from meshkit.security.identity import Identity
from meshkit.server import Server
from meshkit.telemetry import logs, metrics, traces
from services.task.dispatcher import Dispatcher
from services.task.domain import RetryPolicy
from services.task.peers import Analytics, Registry
from services.task.reaper import Reaper
from services.task.servicer.dispatch import DispatchServicer
from services.task.servicer.tasks import TaskServicer
from services.task.settings import Settings
from services.task.store import history, tasks
from services.task.usecases.attempts import Attempts
from services.task.usecases.tasks import Tasks
from services.task.watching import Watching

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    logs.configure_logs(settings.log, service="task")
    metrics.serve_metrics(settings.metrics)
    database = Database(settings.database)
    if settings.database.migrate_at_start:
        await migrate(database.url, MIGRATIONS)
    identity = Identity(settings.identity, settings.peers)
    registry, analytics = Registry(identity.channels), Analytics(identity.channels)
    rules = settings.dispatch
    retries = RetryPolicy(rules.retry_backoff, rules.retry_backoff_max)
    attempts = Attempts(database, retries, lease_seconds=rules.lease)
    dispatcher = Dispatcher(attempts)
    use_cases = Tasks(database, registry)
    watching = Watching(use_cases)
    relay = Relay(database, analytics.publish)
    reaper = Reaper(attempts, dispatcher.heard_of_work, interval=rules.reap_interval)
    notifications = Notifications(
        database.url,
        {
            tasks.QUEUED: dispatcher.heard_of_work,
            history.CANCELLED: dispatcher.heard_of_cancellation,
            history.CHANGED: watching.heard_of_change,
            outbox.APPENDED: relay.wake,
        },
    )
    server = Server(
        settings.grpc,
        verifier=identity.verifier,
        outermost=traces.tracing_interceptors(settings.telemetry, service="task"),
        log_calls=settings.log.calls,
        readiness=[database.ping],
    ).on_drain(dispatcher.drain)
    server.add(
        add_TaskServiceServicer_to_server,
        TaskServicer(use_cases, watching, default_attempts=rules.default_attempts),
    )
    server.add(
        add_DispatchServiceServicer_to_server,
        DispatchServicer(attempts, dispatcher, registry, rules),
    )
    background = [dispatcher.run(), reaper.run(), relay.run(), notifications.run()]
    await server.serve(beside=background)
    await identity.close()
    await database.close()


if __name__ == "__main__":
    run(serve)
