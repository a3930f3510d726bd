"""A replica of the task service: its parts, and what ties them together."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from mesh.task.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from mesh.task.v1.bulk_service_pb2_grpc import add_BulkServiceServicer_to_server
from mesh.task.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from mesh.task.v1.queue_service_pb2_grpc import add_QueueServiceServicer_to_server
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
from services.task.bulk import BulkWorker
from services.task.clockwork import Clockwork
from services.task.dispatch.steering import Steering
from services.task.dispatcher import Dispatcher
from services.task.domain.retries import Backoff
from services.task.engine import batch
from services.task.engine.seating import Seating
from services.task.engine.writer import Writer
from services.task.feed import Feed
from services.task.lane_book import LaneBook
from services.task.peers import Registry
from services.task.presence import Presence
from services.task.retention import Retention
from services.task.servicer.blobs import BlobServicer
from services.task.servicer.bulk import BulkServicer
from services.task.servicer.dispatch import DispatchServicer
from services.task.servicer.queues import QueueServicer
from services.task.servicer.tasks import TaskServicer
from services.task.settings import BulkSettings, DispatchSettings, RetentionSettings
from services.task.steering_book import SteeringBook
from services.task.store import reading
from services.task.store.setback import bring_near
from services.task.usecases.attempts import Attempts
from services.task.usecases.bulk import BulkOperations
from services.task.usecases.listing import Listing
from services.task.usecases.queues import Queues
from services.task.usecases.tasks import Tasks
from services.task.watches import Watches
from services.task.watching import Watching

# Of the time after which an unused lane is removed.
_FRESH_SHARE: Final = 0.25


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
        *,
        bulk_settings: BulkSettings | None = None,
        retention_settings: RetentionSettings | None = None,
    ) -> None:
        self._rules = rules
        self._registry = registry
        backoff = Backoff(rules.retry_backoff, rules.retry_backoff_max)
        self.steering = Steering()
        self.seating = Seating(self.steering)
        retention_settings = retention_settings or RetentionSettings()
        self.lanes = LaneBook(
            database, self.seating, fresh=retention_settings.keep_lanes * _FRESH_SHARE
        )
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
            idle_heartbeat=rules.idle_heartbeat,
            max_age=rules.stream_max_age,
        )
        self.tasks = Tasks(database, self.writer, registry, self.lanes, self.steering)
        self.steering_book = SteeringBook(database, self.seating)
        self.presence = Presence(database, self.seating)
        self.queues = Queues(database, self.writer, self.steering_book, self.presence)
        self.watching = Watching(self.tasks)
        self.writer.on_commit(self.watching.committed)
        self.listing = Listing(database)
        self.feed = Feed(database)
        self.watches = Watches(database, self.feed)
        self.bulk = BulkOperations(database, self.writer, self.tasks, self.listing)
        self.bulk_worker = BulkWorker(database, self.bulk, bulk_settings or BulkSettings())
        self.retention = Retention(database, retention_settings)
        self.relay = Relay(database, publish)
        blob_settings = blob_settings or BlobSettings()
        stores = open_stores(blob_settings, database)
        self.blobs = Blobs(database, stores, blob_settings)
        self.blob_janitor = Janitor(database, stores, interval=blob_settings.janitor_interval)
        self.clockwork = Clockwork(
            self.writer,
            lambda: database.read(reading.next_due),
            backoff,
            interval=rules.look_interval,
            bring_near=lambda: database.transaction(partial(bring_near, lease=rules.lease)),
            lease=rules.lease,
        )
        self.notifications = Notifications(
            database.url,
            {
                batch.QUEUED: self.dispatcher.heard_of_work,
                batch.LOST: self.dispatcher.heard_of_loss,
                batch.STOP: self.dispatcher.heard_of_stop,
                batch.CHANGED: self._heard_of_change,
                batch.SCHEDULED: self.clockwork.wake,
                batch.STEERED: self.steering_book.wake,
                outbox.APPENDED: self.relay.wake,
            },
        )

    def add_to(self, server: Server) -> None:
        """Have the server serve this replica."""
        callers = TaskServicer(
            self.tasks,
            self.listing,
            self.watching,
            self.watches,
            default_attempts=self._rules.default_attempts,
        )
        agents = DispatchServicer(self.attempts, self.dispatcher, self._registry, self._rules)
        server.add(add_TaskServiceServicer_to_server, callers)
        server.add(add_DispatchServiceServicer_to_server, agents)
        server.add(add_QueueServiceServicer_to_server, QueueServicer(self.queues))
        server.add(add_BulkServiceServicer_to_server, BulkServicer(self.bulk, self.bulk_worker))
        server.add(add_BlobServiceServicer_to_server, BlobServicer(self.blobs))
        server.on_drain(self.dispatcher.drain)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, until cancelled."""
        parts = (
            self.steering_book,
            self.presence,
            self.dispatcher,
            self.clockwork,
            self.relay,
            self.notifications,
            self.blob_janitor,
            self.feed,
            self.bulk_worker,
            self.retention,
        )
        return [self._write(), *(part.run() for part in parts)]

    def _heard_of_change(self, payload: str) -> None:
        self.watching.heard_of_change(payload)
        self.feed.heard_of_change(payload)

    async def _write(self) -> None:
        await self.steering_book.known()
        await self.writer.run()
