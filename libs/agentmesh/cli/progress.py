"""Show what the stack reports, a line for each event."""

from rich.console import Console
from rich.status import Status
from rich.text import Text

from agentmesh.stack.report import Event, Happening

WORDS = {
    Happening.READY: ("ready", "green"),
    Happening.CRASHED: ("crashed", "bold red"),
    Happening.STOPPED: ("stopped", "green"),
    Happening.NOTICE: ("note", "yellow"),
}


class Progress:
    """Print what has happened and, on a terminal, name what is being waited for below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)
        self._waiting: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.happening is Happening.STARTING:
            self._waiting[event.part] = "starting"
        elif event.happening is Happening.STOPPING:
            self._waiting[event.part] = "draining"
        else:
            self._waiting.pop(event.part, None)
            self._print(event)
        self._show_waiting()

    def close(self) -> None:
        """Stop naming what is being waited for."""
        self._waiting.clear()
        self._show_waiting()

    def _print(self, event: Event) -> None:
        word, style = WORDS[event.happening]
        line = Text.assemble((f"{word:8}", style), f" {event.part:13}")
        if event.seconds is not None:
            line.append(f"{event.seconds:6.1f} s")
        if event.detail:
            line.append(f"  {event.detail}")
        self._console.print(line)
        for quoted in event.lines:
            self._console.print(Text(f"           | {quoted}", "dim"))

    def _show_waiting(self) -> None:
        if not self._console.is_terminal:
            return
        if not self._waiting:
            self._status.stop()
            return
        verb = next(iter(self._waiting.values()))
        self._status.update(f"{verb} {', '.join(self._waiting)}")
        self._status.start()
