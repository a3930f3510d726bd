"""Which tasks are remembered, and under which version they are as their rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meshkit.ids import uuid7
from services.task.domain.states import TaskState
from services.task.domain.task import Task
from services.task.engine.remembered import Remembered


def task(**fields: Any) -> Task:
    now = datetime.now(UTC)
    return Task(
        uuid7(), "acme", "text.count", TaskState.QUEUED, 0, 1, 0, 3, 0, "key:a", now, now, 1,
        **fields,
    )  # fmt: skip


def test_a_task_is_recalled_under_the_version_it_was_kept_under_once() -> None:
    remembered, kept, other = Remembered(), task(labels={"team": "red"}), task()
    remembered.keep(7, [kept, other], {kept.id})
    assert remembered.has_any([kept.id])
    assert remembered.recall((kept.id, 7)) == (kept, True)
    assert remembered.recall((kept.id, 7)) is None
    assert not remembered.has_any([kept.id])
    assert remembered.recall((other.id, 7)) == (other, False)


def test_a_task_that_another_transaction_wrote_is_not_recalled() -> None:
    remembered, kept = Remembered(), task()
    remembered.keep(7, [kept], ())
    assert remembered.recall((kept.id, 8)) is None
    assert remembered.recall((kept.id, 7)) is None


def test_what_is_recalled_can_be_changed_by_itself() -> None:
    remembered, kept = Remembered(), task()
    remembered.keep(7, [kept], ())
    recalled = remembered.recall((kept.id, 7))
    assert recalled is not None
    recalled[0].state = TaskState.RUNNING
    assert kept.state is TaskState.QUEUED


def test_what_was_written_again_is_remembered_as_it_is_now() -> None:
    remembered, kept = Remembered(), task()
    remembered.keep(7, [kept], {kept.id})
    later = kept.copy()
    later.attempt = 1
    remembered.keep(8, [later], ())
    assert remembered.recall((kept.id, 8)) == (later, False)


def test_large_tasks_and_those_written_long_ago_are_not_kept() -> None:
    remembered, large, first = Remembered(), task(input=b"x" * 5000), task()
    remembered.keep(7, [large, first], ())
    assert not remembered.has_any([large.id])
    remembered.keep(8, [task() for _ in range(10_000)], ())
    assert not remembered.has_any([first.id])


def test_all_is_forgotten_at_once() -> None:
    remembered, kept = Remembered(), task()
    remembered.keep(7, [kept], ())
    remembered.forget()
    assert not remembered.has_any([kept.id])


def test_claims_are_served_from_here_while_most_of_them_can_be() -> None:
    remembered, kept, other = Remembered(), task(), task()
    remembered.keep(7, [kept], ())
    remembered.learn_of_claim([other.id, kept.id])
    assert remembered.serves_claims
    remembered.learn_of_claim([other.id])
    assert not remembered.serves_claims
