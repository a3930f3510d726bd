"""Show tasks as they go: a table that changes on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from agentmesh.demo.following import Observer
from agentmesh.demo.script import AGENTS, Step
from agentmesh.resources import Task, TaskEvent

STYLES: Final[Mapping[str, str]] = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "DEAD_LETTERED": "red",
    "CANCELLED": "yellow",
    "RUNNING": "cyan",
    "QUEUED": "dim",
}
# All states of a kind have to fit beside its bar in 80 columns.
WORDS: Final = {"SUCCEEDED": "done"}
WIDE: Final = 100
TOLD: Final = frozenset(
    {"RETRYING", "RELEASED", "SUCCEEDED", "FAILED", "CANCELLED", "DEAD_LETTERED"}
)


@contextmanager
def display(
    console: Console, steps: Sequence[Step], agent_names: Mapping[str, str]
) -> Iterator[Observer]:
    """Give an observer that shows what it is told, in the way that suits the console."""
    if console.is_terminal:
        board = Board(console, steps)
        with board.progress:
            yield board
    else:
        yield Lines(console, agent_names)


class Board:
    """One row for each kind of task: who does it, how far all of them are, in which states."""

    def __init__(self, console: Console, steps: Sequence[Step]) -> None:
        columns = [
            TextColumn("{task.description}", style="bold"),
            TextColumn("{task.fields[agent]}", style="dim"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[states]}", table_column=Column(no_wrap=True)),
        ]
        if console.width >= WIDE:
            columns.append(TextColumn("{task.fields[now]}", style="dim"))
        self.progress = Progress(*columns, console=console)
        self._tasks: dict[str, dict[str, Task]] = {}
        self._rows: dict[str, TaskID] = {}
        totals = Counter(step.capability for step in steps)
        for agent in AGENTS:
            for capability in agent.capabilities:
                self._tasks[capability] = {}
                self._rows[capability] = self.progress.add_task(
                    capability, total=totals[capability], agent=agent.name, states="", now=""
                )

    def __call__(self, step: Step, event: TaskEvent) -> None:
        """Show one change."""
        tasks = self._tasks[step.capability]
        tasks[event.task.id] = event.task
        self.progress.update(
            self._rows[step.capability],
            completed=sum(_share(task) for task in tasks.values()),
            states=_states(tasks.values()),
            now=_now(event),
        )


class Lines:
    """A line for each task that ends or is to be tried again."""

    def __init__(self, console: Console, agent_names: Mapping[str, str]) -> None:
        self._console = console
        self._agent_names = agent_names
        self._begun = time.monotonic()

    def __call__(self, step: Step, event: TaskEvent) -> None:
        """Show one change, if it is one to tell."""
        if event.type not in TOLD:
            return
        seconds = time.monotonic() - self._begun
        agent = self._agent_names.get(event.task.agent_id, "nobody")
        self._console.print(
            f"{seconds:6.1f} s  {event.type.lower():9}  {step.capability}: {step.title} ({agent})",
            markup=False,
        )


def _share(task: Task) -> float:
    if task.is_done:
        return 1.0
    return task.progress.fraction if task.progress else 0.0


def _states(tasks: Iterable[Task]) -> str:
    counts = Counter(task.state for task in tasks)
    return " ".join(
        f"[{style}]{counts[state]} {WORDS.get(state, state.lower())}[/]"
        for state, style in STYLES.items()
        if counts[state]
    )


def _now(event: TaskEvent) -> str:
    progress = event.task.progress
    return progress.message if progress and not event.task.is_done else ""


def state_text(state: str) -> Text:
    """Return a state in lower case and its colour."""
    return Text(state.lower(), STYLES.get(state, ""))
