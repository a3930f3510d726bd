"""Settings of the analytics service."""

from __future__ import annotations

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings):
    """All settings of the analytics service; it needs none of its own."""
