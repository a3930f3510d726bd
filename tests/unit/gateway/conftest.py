"""What the gateway's unit tests need to import it."""

from __future__ import annotations

import pytest

# envoy-data-plane declares validators in a way that pydantic 2.12 deprecates.
THEIR_WARNING = "ignore:Using `@model_validator` with mode='after' on a classmethod"


def pytest_configure(config: pytest.Config) -> None:
    """Let envoy-data-plane be imported although warnings are errors."""
    config.addinivalue_line("filterwarnings", THEIR_WARNING)
