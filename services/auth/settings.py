"""Settings of the auth service."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings

from meshkit.settings import ENVIRONMENT, DatabaseSettings, Seconds, ServiceSettings


class AuthSettings(BaseModel):
    """What only auth needs to know."""

    master_key: SecretStr = Field(
        min_length=32,
        description="secret from which the pepper of API keys and the key of stored keys derive",
    )
    key_environment: str = Field(
        "dev", pattern="^[a-z0-9]{1,16}$", description="part of each API key that names its mesh"
    )
    token_lifetime: Seconds = Field(600.0, le=3600, description="how long an access token works")


class Settings(ServiceSettings):
    """All settings of the auth service."""

    auth: AuthSettings


class OfflineSettings(BaseSettings):
    """What is needed to make a key without a running service."""

    model_config = ENVIRONMENT

    database: DatabaseSettings
    auth: AuthSettings
