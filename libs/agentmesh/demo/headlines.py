"""What a task came to, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentmesh.resources import Task


def headline(task: Task) -> str:
    """Say what a task returned, or why it didn't."""
    if task.state == "SUCCEEDED":
        return _result(task)
    if task.state == "FAILED" and task.error is not None:
        return f"{task.error.type}: {task.error.message}"
    if task.progress is not None:
        return f"{task.progress.message} when it was called off"
    return ""


def _result(task: Task) -> str:
    try:
        return _HEADLINES[task.capability](task.result)
    except (LookupError, TypeError, ValueError):
        # On a mesh that was there before, another agent may have done the task its own way.
        return f"not what the sample agent returns: {task.result!r}"


def _fact(facts: list[Mapping[str, Any]]) -> str:
    if not facts:
        return "nothing found"
    best = facts[0]
    return f"{best['file']}:{best['line']} {best['sentence']}"


def _count(count: Mapping[str, Any]) -> str:
    frequent = ", ".join(f"{each['word']} {each['times']}" for each in count["most_frequent"])
    return f"{count['words']} words, {count['distinct']} different; most often {frequent}"


def _likeness(likeness: Mapping[str, Any]) -> str:
    shared, jaccard, cosine = (float(likeness[name]) for name in ("shared", "jaccard", "cosine"))
    return f"{shared:.0f} words shared, Jaccard {jaccard}, cosine {cosine}"


def _summary(summary: Mapping[str, Any]) -> str:
    columns = "; ".join(
        "{heading} mean {mean}, median {median}, {missing} missing".format_map(column)
        for column in summary["columns"]
    )
    return f"{summary['rows']} rows; {columns}"


_HEADLINES: Final[Mapping[str, Callable[[Any], str]]] = {
    "facts.find": _fact,
    "words.count": _count,
    "words.compare": _likeness,
    "table.summarise": _summary,
}
