"""A service process: settings in, logs and figures on, an event loop under it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog
import uvloop
from pydantic import ValidationError

from meshkit.errors import DomainError
from meshkit.server import AddressInUse

log = structlog.get_logger()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run a service's `main` on uvloop and exit: 0 when it ended, 1 when it couldn't start."""
    _collect_seldom()
    try:
        uvloop.run(main())
    except ValidationError as error:
        _fail(f"the settings are not right: {_settings_errors(error)}")
    except (AddressInUse, DomainError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _collect_seldom() -> None:
    """Have cycles looked for once in tens of thousands of allocations, not in hundreds.

    A service makes thousands of short-lived objects a second, nearly none in cycles, and what
    it imported stays for good: looking all of it over again took a twentieth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _fail(message: str) -> NoReturn:
    log.error("can't start", cause=message)
    sys.exit(1)


def _settings_errors(error: ValidationError) -> str:
    return "; ".join(
        f"AGENTMESH_{'__'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
        for each in error.errors(include_input=False)
    )
