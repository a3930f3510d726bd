"""The tables at the end of the demo: results, who did what, and the figures of analytics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from rich.table import Table
from rich.text import Text

from agentmesh.demo.display import state_text
from agentmesh.demo.following import Outcome
from agentmesh.demo.headlines import headline
from agentmesh.demo.script import CAPABILITIES
from agentmesh.resources import Overview, Task, Totals


def results(outcomes: Sequence[Outcome]) -> Table:
    """Show each task and what it came to, on one line."""
    table = _table("task", "ended", "try", "took", "result", right=("try", "took"))
    table.columns[0].max_width = 29
    table.columns[-1].ratio = 1
    table.expand = True
    for capability in CAPABILITIES:
        table.add_row(Text(capability, "bold"))
        for outcome in outcomes:
            if outcome.step.capability == capability:
                table.add_row(*_result(outcome))
    return table


def who_did_what(outcomes: Sequence[Outcome], agent_names: Mapping[str, str]) -> Table:
    """Show how many tasks of which kind each agent did."""
    table = _table("agent", "tasks", "of which kind", right=("tasks",))
    by_agent: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        name = agent_names.get(outcome.task.agent_id, "nobody")
        by_agent.setdefault(name, Counter())[outcome.task.capability] += 1
    for name, counts in sorted(by_agent.items()):
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        table.add_row(name, str(counts.total()), kinds)
    return table


def figures(overview: Overview) -> Table:
    """Show success and latency, by kind of task and in all, as analytics answers them."""
    headings = ("kind", "tasks", "succeeded", "failed", "cancelled", "success", "p50", "p95")
    table = _table(*headings, right=headings[1:])
    for name in CAPABILITIES:
        if name in overview.capabilities:
            table.add_row(name, *_row(overview.capabilities[name]))
    table.add_section()
    table.add_row("all", *_row(overview.totals), style="bold")
    return table


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if heading in right else "left",
        )
    return table


def _result(outcome: Outcome) -> tuple[Text | str, ...]:
    task = outcome.task
    return (
        Text(outcome.step.title),
        state_text(task.state),
        str(task.attempt),
        _since_creation(task),
        Text(headline(task), "bold red" if outcome.difference else ""),
    )


def _row(totals: Totals) -> tuple[str, ...]:
    return (
        *(str(n) for n in (totals.total, totals.succeeded, totals.failed, totals.cancelled)),
        f"{totals.success_rate:.0%}",
        _duration(totals.latency_p50),
        _duration(totals.latency_p95),
    )


def _since_creation(task: Task) -> str:
    return _duration(task.end_time - task.create_time) if task.end_time else ""


def _duration(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
