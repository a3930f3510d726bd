"""What the stack tells while it works: one event for each thing a user wants to see."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


class Happening(Enum):
    """Name what an event is about."""

    STARTING = auto()
    READY = auto()
    CRASHED = auto()
    STOPPING = auto()
    STOPPED = auto()
    NOTICE = auto()


@dataclass(frozen=True)
class Event:
    """Say what happened to which part; `lines` are the last ones of its log."""

    happening: Happening
    part: str
    detail: str = ""
    seconds: float | None = None
    lines: tuple[str, ...] = ()


Reporter = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Report to nobody."""
