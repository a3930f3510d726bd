"""Finished tasks to judge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmesh.demo.following import Outcome
from agentmesh.demo.script import End, Step
from agentmesh.resources import Progress, Task, TaskError

SUCCESS = End("SUCCEEDED")
LIKENESS: Mapping[str, Any] = {"shared": 3, "jaccard": 0.5, "cosine": 1}
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def outcome(
    state: str = "SUCCEEDED",
    *,
    end: End = SUCCESS,
    capability: str = "words.compare",
    agent_id: str = "1",
    attempt: int = 1,
    result: Any = LIKENESS,
    error: TaskError | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Return a step and its task, as both are at the end."""
    done = state in ("SUCCEEDED", "FAILED", "CANCELLED")
    task = Task(
        id="0",
        capability=capability,
        state=state,
        input={},
        result=result,
        error=error,
        progress=progress,
        attempt=attempt,
        agent_id=agent_id,
        priority=0,
        labels={},
        create_time=BEGIN,
        end_time=BEGIN + timedelta(seconds=2) if done else None,
    )
    return Outcome(Step("a step", capability, {}, end), task)
