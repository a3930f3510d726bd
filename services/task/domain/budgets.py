"""What a root task and all under it have used of their budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.task.domain.policy import Budget
from services.task.domain.task import Usage

DEEPEST: Final = 64
"""Deepest level of children, with or without a budget."""


@dataclass(slots=True)
class BudgetState:
    """A budget and what is used of it; changed in place, within a transaction."""

    budget: Budget
    tasks: int = 0
    tokens: int = 0
    cost: float = 0.0

    def refusal(self, depth: int) -> str:
        """Return which bound one more task at this depth would exceed; empty if none."""
        if self.budget.max_depth and depth > self.budget.max_depth:
            return "max_depth"
        if self.budget.max_tasks and self.tasks >= self.budget.max_tasks:
            return "max_tasks"
        return self.exceeded()

    def charge(self, usage: Usage) -> None:
        """Add what was used."""
        self.tokens += usage.tokens
        self.cost += usage.cost

    def exceeded(self) -> str:
        """Return which bound is exceeded by what was used; empty if none."""
        if self.budget.max_tokens and self.tokens > self.budget.max_tokens:
            return "max_tokens"
        if self.budget.max_cost and self.cost > self.budget.max_cost:
            return "max_cost"
        return ""
