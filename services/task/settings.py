"""Settings of the task service."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshkit.settings import Seconds, ServiceSettings


class DispatchSettings(BaseModel):
    """How tasks are leased and tried again."""

    lease: Seconds = Field(30.0, description="a lease lasts this long from each heartbeat")
    heartbeat: Seconds = Field(5.0, description="how often agents are to send heartbeats")
    reap_interval: Seconds = Field(0.5, description="how often lost leases are looked for")
    retry_backoff: Seconds = Field(1.0, description="wait before the second attempt, then doubled")
    retry_backoff_max: Seconds = Field(60.0, description="longest wait before an attempt")
    default_attempts: int = Field(3, ge=1, description="attempts of a task that names none")


class Settings(ServiceSettings):
    """All settings of the task service."""

    dispatch: DispatchSettings = DispatchSettings()
