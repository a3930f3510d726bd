"""Named points at which a process may be made to die, fail, stop or wait, to test what follows.

Inert unless `AGENTMESH_FAILPOINTS` names them when the process starts, as in
`writer.before_commit=exit@2;relay.published=delay:0.5`: what is done at a point, and at
which of its hits; without a number, at each. The actions are `exit` (as kill -9 would),
`stop` (SIGSTOP, until somebody continues it), `raise` (ConnectionError) and
`delay:<seconds>`, which holds up the whole process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "AGENTMESH_FAILPOINTS"

EXIT_CODE: Final = 137
"""What a process exits with at a point: the code of one that was killed."""


@dataclass(slots=True)
class _Armed:
    """What is done at one point; `at` is the hit at which, 0 for each."""

    action: str
    seconds: float
    at: int
    hits: int = 0


def failpoint(name: str) -> None:
    """Do what the environment asks for at this point; nothing, as a rule.

    Raises:
        ConnectionError: The environment asks for that.
    """
    if _ARMED:
        _hit(name)


def parse(text: str) -> Mapping[str, _Armed]:
    """Read what is to be done at which points.

    Raises:
        ValueError: It can't be read.
    """
    return dict(_parse_one(each.strip()) for each in text.split(";") if each.strip())


def _parse_one(text: str) -> tuple[str, _Armed]:
    name, found, what = text.partition("=")
    what, _, at = what.partition("@")
    action, _, seconds = what.partition(":")
    if not found or action not in ("exit", "stop", "raise", "delay"):
        raise ValueError(
            f"{VARIABLE}: {text!r} isn't <point>=<exit|stop|raise|delay:seconds>[@<hit>]."
        )
    return name, _Armed(action, float(seconds or 0), int(at or 0))


def _hit(name: str) -> None:
    armed = _ARMED.get(name)
    if armed is None:
        return
    armed.hits += 1
    if armed.at not in (0, armed.hits):
        return
    match armed.action:
        case "exit":
            os._exit(EXIT_CODE)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise ConnectionError(f"the failpoint {name} was hit")
        case _:
            time.sleep(armed.seconds)


_ARMED: Final = parse(os.environ.get(VARIABLE, ""))
