"""What clients saw: what they were promised, what they were refused, how their tasks ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from tests.chaos.checks.events import Ended
from tests.chaos.checks.families import Needs
from tests.chaos.checks.limits import Places, Rates

# What a creation may be refused for: the parent has ended, or a limit refuses the newest.
_IN_ORDER: Final = ("TASK_STATE_CONFLICT", "CONCURRENCY_LIMIT")
_OWN_FAULTS: Final = ("INTERNAL", "UNKNOWN")


class Window(NamedTuple):
    """A time in which a fault was there, by the host's clock."""

    begin: float
    end: float


@dataclass
class Asked:
    """What clients asked for and were answered.

    Attributes:
        ids: Task by request.
        places: Concurrency limits of tasks, by key.
        rates: Rate limits of tasks, by key.
        never: Tasks that can't succeed.
        family: How many children a task makes.
        visible: Beginning and end of calls of the SDK that failed visibly, with the cause.
        amiss: What should never be seen, with where it was.
    """

    ids: dict[str, str] = field(default_factory=dict)
    places: dict[UUID, Mapping[str, int]] = field(default_factory=dict)
    rates: dict[UUID, Mapping[str, tuple[int, float, int]]] = field(default_factory=dict)
    needs: dict[UUID, Needs] = field(default_factory=dict)
    parents: dict[UUID, UUID] = field(default_factory=dict)
    family: dict[UUID, int] = field(default_factory=dict)
    never: set[UUID] = field(default_factory=set)
    cancelled: list[tuple[UUID, float | None]] = field(default_factory=list)
    told: list[tuple[UUID, str, Sequence[int]]] = field(default_factory=list)
    visible: list[tuple[float, float, str]] = field(default_factory=list)
    sdk_calls: int = 0
    unknown: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    amiss: dict[str, list[str]] = field(default_factory=dict)

    @property
    def accepted(self) -> set[UUID]:
        """The tasks that were acknowledged."""
        return {UUID(task_id) for task_id in self.ids.values()}

    @property
    def limits(self) -> tuple[Places, Rates]:
        """Both kinds of limits."""
        return self.places, self.rates


def asked_by_clients(lines: Iterable[Mapping[str, Any]]) -> Asked:
    """Read the histories of clients."""
    asked = Asked()
    for line in lines:
        asked.sdk_calls += "sdk" in line
        if line["result"] == "ok":
            _take_answer(asked, line)
        else:
            _take_refusal(asked, line)
    shared = len(asked.ids) - len(asked.accepted)
    _note(asked, "requests that share a task", *[f"{shared} of them"] * bool(shared))
    return asked


def wrong_ends(asked: Asked, ended: Mapping[UUID, Ended]) -> Iterator[tuple[str, list[str]]]:
    """Yield each kind of thing that is wrong with how tasks ended, and where."""
    succeeded = {task for task, stored in ended.items() if stored.state == "succeeded"}
    yield "tasks that succeeded and can't", [str(each) for each in asked.never & succeeded]
    yield "tasks that went on after their cancellation", list(_not_cancelled(asked, ended))
    yield "tasks that ended otherwise than told", list(_told_otherwise(asked, ended))
    yield (
        "parents that were lost",
        [
            str(child)
            for child, parent in asked.parents.items()
            if child in ended and ended[child].parent != parent
        ],
    )


def noticed(asked: Asked, faults: Sequence[Window]) -> Iterator[str]:
    """Yield the calls of the SDK that failed visibly while no fault of these was there."""
    for begin, end, cause in asked.visible:
        if not any(fault.begin <= end and begin <= fault.end for fault in faults):
            yield f"{cause} after {end - begin:.1f} s"


def _take_answer(asked: Asked, line: Mapping[str, Any]) -> None:
    facts = line.get("facts") or [{}] * len(line["ids"])
    for index, (task_id, known) in enumerate(zip(line["ids"], facts, strict=True)):
        if not task_id:
            continue
        request = f"{line['id']}:{index}"
        others = {asked.ids.setdefault(request, task_id), line.get("other", task_id)}
        if others != {task_id}:
            _note(asked, "requests with two tasks", request)
        _take_facts(asked, UUID(task_id), known)
    if "ended" in line:
        asked.told.append((UUID(line["ids"][0]), line["ended"], line.get("sequences", ())))
    if "cancelled" in line:
        asked.cancelled.append((UUID(line["cancelled"]), line["grace"]))


def _take_facts(asked: Asked, task: UUID, facts: Mapping[str, Any]) -> None:
    if limits := facts.get("limits"):
        asked.places[task] = limits
    if rates := facts.get("rates"):
        asked.rates[task] = {key: tuple(each) for key, each in rates.items()}
    if needs := facts.get("needs"):
        others = [(UUID(other), condition) for other, condition in needs]
        asked.needs[task] = Needs(others, facts["any"])
    if parent := facts.get("parent"):
        asked.parents[task] = UUID(parent)
    if children := facts.get("family"):
        asked.family[task] = children
    if facts.get("never"):
        asked.never.add(task)


def _take_refusal(asked: Asked, line: Mapping[str, Any]) -> None:
    cause = line["code"]
    asked.codes[cause] += 1
    asked.unknown += line["result"] == "unknown"
    if cause.split()[0] in _OWN_FAULTS:
        _note(asked, "calls answered as a fault of the service", cause)
    if line["result"] == "unknown" and "sdk" in line:
        asked.visible.append((line["start"], line["end"], cause))
    in_order = any(reason in cause for reason in _IN_ORDER)
    if line["result"] == "refused" and line["op"] not in ("cancel", "answer") and not in_order:
        _note(asked, "creations refused", cause)


def _not_cancelled(asked: Asked, ended: Mapping[UUID, Ended]) -> Iterator[str]:
    for task, grace in asked.cancelled:
        stored = ended.get(task)
        # Within its grace, a task may still end by itself.
        fine = ("cancelled",) if grace == 0 else ("cancelled", "succeeded")
        if stored is not None and stored.state not in fine:
            yield f"{task} is {stored.state}, cancelled with a grace of {grace}"


def _told_otherwise(asked: Asked, ended: Mapping[UUID, Ended]) -> Iterator[str]:
    for task, state, sequences in asked.told:
        stored = ended.get(task)
        if stored is None or stored.state != state:
            yield f"{task} was told to be {state}, is {stored and stored.state}"
        elif sequences and list(sequences) != list(range(1, stored.last_sequence + 1)):
            yield f"{task} was watched as {sequences} of {stored.last_sequence}"


def _note(asked: Asked, what: str, *where: str) -> None:
    if where:
        asked.amiss.setdefault(what, []).extend(where)
