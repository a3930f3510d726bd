"""Settings of the task service."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field

from meshkit.settings import Seconds, ServiceSettings
from services.task.blobs.settings import BlobSettings

_DAY: Final = 86400.0


class DispatchSettings(BaseModel):
    """How tasks are leased and tried again."""

    lease: Seconds = Field(30.0, description="a lease lasts this long from each heartbeat")
    heartbeat: Seconds = Field(7.0, description="how often agents are to send heartbeats")
    idle_heartbeat: Seconds = Field(120.0, description="the same while they hold no task")
    look_interval: Seconds = Field(0.5, description="longest time between looks at what is due")
    cancel_grace: Seconds = Field(10.0, description="an agent has this long to stop a task")
    stream_silence: Seconds = Field(
        15.0,
        description="a stream ends that is this late with a heartbeat, or holds tasks so long"
        " in silence",
    )
    stream_max_age: Seconds = Field(1800.0, description="a dispatch stream is handed over after")
    retry_backoff: Seconds = Field(1.0, description="wait before the second attempt, then doubled")
    retry_backoff_max: Seconds = Field(60.0, description="longest wait before an attempt")
    default_attempts: int = Field(3, ge=1, description="attempts of a task that names none")


class BulkSettings(BaseModel):
    """How operations on many tasks are worked on."""

    step: int = Field(200, ge=1, le=1000, description="tasks at a time")
    pause: Annotated[float, Field(ge=0)] = Field(0.01, description="seconds between steps")
    look_interval: Seconds = Field(2.0, description="longest time between looks for operations")
    lease: Seconds = Field(30.0, description="another replica goes on after so long without a step")


class RetentionSettings(BaseModel):
    """How long tasks are kept after their end, and what else grows old; how it is deleted."""

    keep_succeeded: Seconds = Field(7 * _DAY, description="after success; seconds, like the rest")
    keep_failed: Seconds = Field(30 * _DAY, description="after failure")
    keep_cancelled: Seconds = Field(7 * _DAY, description="after cancellation")
    keep_dead_lettered: Seconds = Field(90 * _DAY, description="after the last of the attempts")
    keep_output: Seconds = Field(3600.0, description="streamed output, after the task's end")
    keep_bulk_operations: Seconds = Field(30 * _DAY, description="after they are done or stopped")
    keep_lanes: Seconds = Field(_DAY, description="queues of tasks alike, while there are none")
    step: int = Field(200, ge=1, le=5000, description="tasks at a time")
    pause: Annotated[float, Field(ge=0)] = Field(0.1, description="seconds between steps")
    interval: Seconds = Field(60.0, description="time between looks for what is to be deleted")


class Settings(ServiceSettings):
    """All settings of the task service."""

    dispatch: DispatchSettings = DispatchSettings()
    blobs: BlobSettings = BlobSettings()
    bulk: BulkSettings = BulkSettings()
    retention: RetentionSettings = RetentionSettings()
