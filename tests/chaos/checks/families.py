"""Tasks that have to do with others: dependents, and children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.chaos.checks.events import Event, Life


@dataclass(frozen=True)
class Needs:
    """What a task waits for: other tasks, and how each is to have ended.

    Attributes:
        any: Whether one of them is enough.
    """

    others: Sequence[tuple[UUID, str]]
    any: bool = False


def started_too_early(lives: Mapping[UUID, Life], needs: Mapping[UUID, Needs]) -> Iterator[str]:
    """Yield the dependents that started before what they depend on had ended as it must."""
    for task, wanted in needs.items():
        life = lives.get(task)
        if life is None or not life.starts:
            continue
        met = [
            _is_met(lives.get(other), condition, life.starts[0].position)
            for other, condition in wanted.others
        ]
        if not (any(met) if wanted.any else all(met)):
            yield f"{task} started before what it depends on: {wanted.others}"


def outlived(lives: Mapping[UUID, Life], parents: Mapping[UUID, UUID]) -> Iterator[str]:
    """Yield the children that started after their parent had ended without success."""
    for child, parent in parents.items():
        life, above = lives.get(child), lives.get(parent)
        if life is None or above is None or above.end is None or above.state == "succeeded":
            continue
        if any(_comes_later(start, above.end) for start in life.starts):
            yield f"{child} started after its parent {parent} was {above.state}"
        elif life.end is None:
            yield f"{child} goes on though its parent {parent} was {above.state}"


def too_many_children(
    parents: Mapping[UUID, UUID], wanted: Mapping[UUID, int], own: set[UUID]
) -> Iterator[str]:
    """Yield the parents that made a child twice; `own` are those that agents made."""
    counts: dict[UUID, int] = {}
    for child in own:
        if child in parents:
            counts[parents[child]] = counts.get(parents[child], 0) + 1
    for parent, most in wanted.items():
        if counts.get(parent, 0) > most:
            yield f"{parent} made {counts[parent]} children of {most}"


def _comes_later(start: Event, end: Event) -> bool:
    """Tell whether a start comes after another task's end, and not in the same transaction.

    All events of a transaction have one time. What starts and is called off in one, no
    agent has heard of.
    """
    return start.position > end.position and start.time != end.time


def _is_met(life: Life | None, condition: str, before: int) -> bool:
    if life is None or life.end is None or life.end.position > before:
        return False
    match condition:
        case "succeeded":
            return life.state == "succeeded"
        case "failed":
            return life.state in ("failed", "dead_lettered")
        case _:
            return True
