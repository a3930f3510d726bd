"""A replica of the task service: its parts, and what ties them together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mesh.task.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from mesh.task.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from mesh.task.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.events import outbox
from meshkit.events.relay import Publish, Relay
from meshkit.server import Server
from services.task.blobs.janitor import Janitor
from services.task.blobs.settings import BlobSettings
from services.task.blobs.stores import open_stores
from services.task.blobs.usecases import Blobs
from services.task.clockwork import Clockwork
from services.task.dispatch.steering import Steering
from services.task.dispatcher import Dispatcher
from services.task.domain.retries import Backoff
from services.task.engine import batch
from services.task.engine.seating import Seating
from services.task.engine.writer import Writer
from services.task.lane_book import LaneBook
from services.task.peers import Registry
from services.task.servicer.blobs import BlobServicer
from services.task.servicer.dispatch import DispatchServicer
from services.task.servicer.tasks import TaskServicer
from services.task.settings import DispatchSettings
from services.task.store import reading
from services.task.usecases.attempts import Attempts
from services.task.usecases.tasks import Tasks
from services.task.watching import Watching


class Replica:
    """What one process of the service runs.

    Replicas share the database and nothing else: each hears by notification what
    the others have done.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        publish: Publish,
        rules: DispatchSettings,
        blob_settings: BlobSettings | None = None,
    ) -> None:
        self._rules = rules
        self._registry = registry
        backoff = Backoff(rules.retry_backoff, rules.retry_backoff_max)
        self.steering = Steering()
        self.seating = Seating(self.steering)
        self.lanes = LaneBook(database, self.seating)
        self.writer = Writer(
            database.url, self.seating, lease=rules.lease, grace=rules.cancel_grace
        )
        self.attempts = Attempts(self.writer, backoff)
        self.dispatcher = Dispatcher(
            self.attempts,
            self.seating,
            self.lanes,
            lease=rules.lease,
            silence=rules.stream_silence,
            max_age=rules.stream_max_age,
        )
        self.tasks = Tasks(database, self.writer, registry, self.lanes, self.steering)
        self.watching = Watching(self.tasks)
        self.relay = Relay(database, publish)
        blob_settings = blob_settings or BlobSettings()
        stores = open_stores(blob_settings, database)
        self.blobs = Blobs(database, stores, blob_settings)
        self.blob_janitor = Janitor(database, stores, interval=blob_settings.janitor_interval)
        self.clockwork = Clockwork(
            self.writer,
            lambda: database.transaction(reading.next_due),
            backoff,
            interval=rules.look_interval,
        )
        self.notifications = Notifications(
            database.url,
            {
                batch.QUEUED: self.dispatcher.heard_of_work,
                batch.LOST: self.dispatcher.heard_of_loss,
                batch.STOP: self.dispatcher.heard_of_stop,
                batch.CHANGED: self.watching.heard_of_change,
                batch.SCHEDULED: self.clockwork.wake,
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
        server.add(add_BlobServiceServicer_to_server, BlobServicer(self.blobs))
        server.on_drain(self.dispatcher.drain)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, until cancelled."""
        parts = (
            self.writer,
            self.dispatcher,
            self.clockwork,
            self.relay,
            self.notifications,
            self.blob_janitor,
        )
        return [part.run() for part in parts]
