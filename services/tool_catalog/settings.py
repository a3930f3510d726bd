"""Settings of the tool catalogue."""

from __future__ import annotations

from meshkit.settings import ServiceSettings


class Settings(ServiceSettings):
    """All settings of the tool catalogue; it needs none of its own."""
