"""Settings of the task service."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshkit.settings import Seconds, ServiceSettings
from services.task.blobs.settings import BlobSettings


class DispatchSettings(BaseModel):
    """How tasks are leased and tried again."""

    lease: Seconds = Field(30.0, description="a lease lasts this long from each heartbeat")
    heartbeat: Seconds = Field(5.0, description="how often agents are to send heartbeats")
    look_interval: Seconds = Field(0.5, description="longest time between looks at what is due")
    cancel_grace: Seconds = Field(10.0, description="an agent has this long to stop a task")
    stream_silence: Seconds = Field(13.0, description="a stream that says nothing this long ends")
    stream_max_age: Seconds = Field(1800.0, description="a dispatch stream is handed over after")
    retry_backoff: Seconds = Field(1.0, description="wait before the second attempt, then doubled")
    retry_backoff_max: Seconds = Field(60.0, description="longest wait before an attempt")
    default_attempts: int = Field(3, ge=1, description="attempts of a task that names none")


class Settings(ServiceSettings):
    """All settings of the task service."""

    dispatch: DispatchSettings = DispatchSettings()
    blobs: BlobSettings = BlobSettings()
