"""Structured logs: one JSON object a line, with the ids of the call it belongs to."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from meshkit.security.principal import current_or_none
from meshkit.settings import LogSettings
from meshkit.telemetry.traces import current_ids


def add_call(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Add the ids of the call being served, and whom it is served for.

    They are looked up for the lines that are written: most calls write none.
    """
    ids, principal = current_ids(), current_or_none()
    if ids is not None:
        event["request_id"] = ids.request_id
        event["trace_id"] = ids.trace.trace_id
    if principal is not None:
        event.setdefault("tenant", principal.tenant)
        event.setdefault("subject", principal.subject)
    return event


def configure_logs(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging to `stream`, or standard output, as JSON.

    Each line has time (UTC), level, event and service, and within a call
    `request_id`, `trace_id`, `tenant` and `subject`.
    """
    stream = stream or sys.stdout

    def add_service(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        add_service,
        add_call,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
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
