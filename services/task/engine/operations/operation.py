"""What an operation is to the writer."""

from __future__ import annotations

from typing import Any, Protocol

from services.task.engine.changes import Changes
from services.task.engine.needs import Needs


class Operation(Protocol):
    """Something to be done to tasks, by itself or with others in one transaction.

    It may be applied more than once, if a transaction fails, so it changes nothing
    but the working set.
    """

    def need(self, needs: Needs) -> None:
        """Say what must have been read, and locked."""
        ...

    def apply(self, changes: Changes) -> Any:
        """Change it, and return what the caller is told after the commit.

        Raises:
            DomainError: It is refused; then nothing has changed.
        """
        ...
