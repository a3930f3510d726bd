"""A replica of the task service: its parts, and what ties them together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mesh.task.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from mesh.task.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.events import outbox
from meshkit.events.relay import Publish, Relay
from meshkit.server import Server
from services.task.dispatcher import Dispatcher
from services.task.domain import RetryPolicy
from services.task.peers import Registry
from services.task.reaper import Reaper
from services.task.servicer.dispatch import DispatchServicer
from services.task.servicer.tasks import TaskServicer
from services.task.settings import DispatchSettings
from services.task.store import history, tasks
from services.task.usecases.attempts import Attempts
from services.task.usecases.tasks import Tasks
from services.task.watching import Watching


class Replica:
    """What one process of the service runs.

    Replicas share the database and nothing else: each hears by notification what
    the others have done.
    """

    def __init__(
        self, database: Database, registry: Registry, publish: Publish, rules: DispatchSettings
    ) -> None:
        self._rules = rules
        self._registry = registry
        retries = RetryPolicy(rules.retry_backoff, rules.retry_backoff_max)
        self.attempts = Attempts(database, retries, lease_seconds=rules.lease)
        self.dispatcher = Dispatcher(self.attempts)
        self.tasks = Tasks(database, registry)
        self.watching = Watching(self.tasks)
        self.relay = Relay(database, publish)
        self.reaper = Reaper(
            self.attempts, self.dispatcher.heard_of_work, interval=rules.reap_interval
        )
        self.notifications = Notifications(
            database.url,
            {
                tasks.QUEUED: self.dispatcher.heard_of_work,
                history.LOST: self.dispatcher.heard_of_loss,
                history.CHANGED: self.watching.heard_of_change,
                outbox.APPENDED: self.relay.wake,
            },
        )

    def add_to(self, server: Server) -> None:
        """Have the server serve this replica."""
        callers = TaskServicer(
            self.tasks, self.watching, default_attempts=self._rules.default_attempts
        )
        agents = DispatchServicer(self.attempts, self.dispatcher, self._registry, self._rules)
        server.add(add_TaskServiceServicer_to_server, callers)
        server.add(add_DispatchServiceServicer_to_server, agents)
        server.on_drain(self.dispatcher.drain)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, until cancelled."""
        parts = (self.dispatcher, self.reaper, self.relay, self.notifications)
        return [part.run() for part in parts]
