"""What is shown, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from agentmesh.demo import tables
from agentmesh.demo.display import Board, display
from agentmesh.resources import Progress
from tests.unit.demo.tasks import make_event, outcome

NAMES = {"1": "demo-words"}


def console(width: int = 80, *, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


def printed(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_elsewhere_ends_and_retries_are_told_and_nothing_else() -> None:
    target, ended = console(), outcome()
    with display(target, [ended.step], NAMES) as observer:
        for number, type_ in enumerate(("CREATED", "STARTED", "RETRYING", "STARTED", "SUCCEEDED")):
            observer(ended.step, make_event(number, type_, ended.task))
    lines = printed(target).splitlines()
    assert [line.split()[2] for line in lines] == ["retrying", "succeeded"]
    assert all(line.endswith("words.compare: a step (demo-words)") for line in lines)


def test_a_terminal_shows_a_row_for_each_kind() -> None:
    target, half = console(120, terminal=True), Progress(0.5, "half of it")
    running, done = outcome("RUNNING", progress=half), outcome()
    board = Board(target, [running.step])
    board(running.step, make_event(1, "PROGRESSED", running.task))
    target.print(board.progress)
    row = next(line for line in printed(target).splitlines() if "words.compare" in line)
    assert "demo-words" in row
    assert "1 running" in row
    assert "half of it" in row
    board(done.step, make_event(2, "SUCCEEDED", done.task))
    target.print(board.progress)
    assert "1 done" in printed(target)


def test_results_fit_a_line_each_in_80_columns() -> None:
    target = console()
    target.print(tables.results([outcome(), outcome(capability="facts.find", result=[])]))
    lines = printed(target).splitlines()
    assert len(lines) == 1 + 4 + 2
    assert any("nothing found" in line for line in lines)
    assert any("3 words shared" in line for line in lines)
