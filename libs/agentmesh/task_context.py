"""What a handler knows of its task, and can say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskContext:
    """One attempt of one task.

    Attributes:
        task_id: Id of the task.
        capability: What was asked for.
        attempt: From 1.
        labels: The task's labels.
    """

    task_id: str
    capability: str
    attempt: int
    labels: Mapping[str, str]
    _report: Callable[[float, str], None] = field(repr=False)

    async def progress(self, fraction: float, message: str = "") -> None:
        """Report how far the task has come, 0 to 1, and in words.

        Returns at once; of reports in quick succession the last one counts.
        Cancellation and loss of the task reach the handler as CancelledError at
        its next await.

        Raises:
            ValueError: The fraction is not a finite number.
        """
        if not math.isfinite(fraction):
            raise ValueError(f"a task is done to a share of 0 to 1, not {fraction}")
        self._report(min(max(fraction, 0.0), 1.0), message)
