"""Settings of the registry service."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshkit.settings import Seconds, ServiceSettings


class RegistrySettings(BaseModel):
    """What only the registry needs to know."""

    lease_duration: Seconds = Field(
        30.0, le=3600, description="an agent that sends no heartbeat for so long is offline"
    )


class Settings(ServiceSettings):
    """All settings of the registry service."""

    registry: RegistrySettings = RegistrySettings()
