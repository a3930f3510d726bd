"""A small run under faults of all kinds, as many as fit in about a minute."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.report import show
from tests.chaos.run import Plan, run


async def test_no_task_is_lost_or_ends_twice_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(seed=int.from_bytes(os.urandom(3)), tasks=1500, faults=8, seconds=25)
    outcome = await run(plan, tmp_path)
    said = show(outcome)
    assert outcome.ok, (
        f"python -m tests.chaos.run --tasks 1500 --faults 8 --seconds 25 --seed {plan.seed}\n{said}"
    )
    assert outcome.findings.accepted > 0.9 * plan.tasks
