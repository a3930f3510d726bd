"""Structured logs: one JSON object a line, with the ids of the call it belongs to."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from meshkit.settings import LogSettings


def configure_logs(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging to `stream`, or standard output, as JSON.

    Each line has time (UTC), level, event and service, and within a call
    `request_id`, `trace_id`, `tenant` and `subject`.
    """
    stream = stream or sys.stdout
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.level)),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    # Libraries report their routine at INFO; what an operator needs of theirs are warnings.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
