"""A small run under faults of every kind, in less than ninety seconds."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.report import show
from tests.chaos.run import Plan, run


async def test_no_task_is_lost_or_ends_twice_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(seed=int.from_bytes(os.urandom(3)), tasks=2000, faults=8)
    outcome = await run(plan, tmp_path)
    said = show(outcome)
    assert outcome.ok, (
        f"python -m tests.chaos.run --tasks 2000 --faults 8 --seed {plan.seed}\n{said}"
    )
    assert outcome.findings.accepted >= plan.tasks
