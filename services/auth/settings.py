"""Settings of the auth service."""

from __future__ import annotations

import os

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings

from meshkit.settings import ENVIRONMENT, DatabaseSettings, Seconds, ServiceSettings


class AuthSettings(BaseModel):
    """What only auth needs to know."""

    master_key: SecretStr = Field(
        min_length=32,
        description="secret from which the pepper of API keys and the key of stored keys derive",
    )
    audit_checkpoint_interval: Seconds = Field(
        60.0, description="the head of a chain of the audit log is signed at most this often"
    )
    key_environment: str = Field(
        "dev", pattern="^[a-z0-9]{1,16}$", description="part of each API key that names its mesh"
    )
    token_lifetime: Seconds = Field(600.0, le=3600, description="how long an access token works")
    credential_callers: tuple[str, ...] = Field(
        ("service:tool_catalog",),
        description="subjects of the services that are handed credentials for external services",
    )
    password_time_cost: int = Field(2, ge=1, description="passes of argon2id over its memory")
    password_memory: int = Field(19_456, ge=8, description="KiB that argon2id fills")
    password_parallelism: int = Field(1, ge=1, description="lanes of argon2id")
    password_workers: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 1) - 1),
        ge=1,
        description="threads that hash passwords",
    )
    password_queue: int = Field(
        64, ge=0, description="passwords that may wait for a thread; more are refused"
    )
    sign_in_failures: int = Field(10, ge=1, description="failures that lock an address")
    sign_in_window: Seconds = Field(900.0, description="time over which failures are counted")
    invitation_lifetime: Seconds = Field(604_800.0, description="how long an invitation works")
    reset_lifetime: Seconds = Field(3600.0, description="how long a password reset works")
    session_idle: Seconds = Field(604_800.0, description="a session not refreshed ends after this")
    session_max: Seconds = Field(2_592_000.0, description="a session ends this long after sign-in")
    session_kept: Seconds = Field(
        604_800.0, description="how long it is known that a session has ended, and why"
    )
    refresh_grace: Seconds = Field(
        10.0, description="how long the refresh token before the current one works"
    )
    leftovers_interval: Seconds = Field(
        600.0, description="pause between removals of ended sessions and what else is over"
    )


class Settings(ServiceSettings):
    """All settings of the auth service."""

    auth: AuthSettings


class OfflineSettings(BaseSettings):
    """What is needed to make a key without a running service."""

    model_config = ENVIRONMENT

    database: DatabaseSettings
    auth: AuthSettings
