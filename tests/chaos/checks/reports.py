"""What agents saw: leases that were given, reports that were accepted, lies that were believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tests.chaos.checks.events import Ended

_NEVER: Final = ("stale", "late", "contradiction")
_ENDINGS: Final = ("completion", "failure", "release", "pause", "stopped")
_AMISS: Final = {
    "disorder": "receipts out of order",
    "believed": "leases kept that nobody had",
    "wrong answer": "answers that went astray",
    "hollow": "tasks given to agents without their input",
}

Lease = tuple[str, int]


@dataclass
class Seen:
    """What agents saw, counted.

    Attributes:
        started: Starts of each task.
        leases: Starts of each lease, as far as agents know its epoch.
        accepted: Kinds of the ends that were accepted on each lease.
        refused: Reports that were refused.
        amiss: What should never be seen, with where it was.
    """

    started: Counter[str] = field(default_factory=Counter)
    leases: Counter[Lease] = field(default_factory=Counter)
    accepted: dict[Lease, set[str]] = field(default_factory=dict)
    unanswered: set[Lease] = field(default_factory=set)
    refused: int = 0
    amiss: dict[str, list[str]] = field(default_factory=dict)


def seen_by_agents(lines: Iterable[Mapping[str, Any]]) -> Seen:
    """Read the histories of agents."""
    seen = Seen()
    for line in lines:
        lease = (line["task"], line.get("epoch", 0))
        match line["ev"]:
            case "start":
                seen.started[line["task"]] += 1
                if "epoch" in line:
                    seen.leases[lease] += 1
                    seen.unanswered |= set() if line.get("answered") else {lease}
            case "receipt":
                _take_receipt(seen, lease, line["kind"], accepted=line["accepted"])
            case other:
                seen.amiss.setdefault(_AMISS[other], []).append(f"{lease}")
    return seen


def wrong_reports(seen: Seen, ended: Mapping[UUID, Ended]) -> Iterator[tuple[str, list[str]]]:
    """Yield each kind of thing that is wrong, and where."""
    yield from seen.amiss.items()
    yield "leases given twice", [f"{each}" for each, count in seen.leases.items() if count > 1]
    yield (
        "leases with two ends",
        [f"{lease}: {kinds}" for lease, kinds in seen.accepted.items() if len(kinds) > 1],
    )
    yield "completions accepted wrongly", list(_wrong_completions(seen, ended))


def unanswered_after(seen: Seen, resumed: Mapping[UUID, int]) -> Iterator[str]:
    """Yield the leases given without the answer, after the epoch at which a task was resumed."""
    for task, epoch in seen.unanswered:
        if epoch > resumed.get(UUID(task), epoch):
            yield f"{task} at {epoch}"


def _take_receipt(seen: Seen, lease: Lease, kind: str, *, accepted: bool) -> None:
    seen.refused += not accepted
    if not accepted:
        return
    if kind in _NEVER:
        seen.amiss.setdefault(f"{kind} reports accepted", []).append(f"{lease}")
    elif kind in _ENDINGS:
        seen.accepted.setdefault(lease, set()).add(kind)


def _wrong_completions(seen: Seen, ended: Mapping[UUID, Ended]) -> Iterator[str]:
    for (task, epoch), kinds in seen.accepted.items():
        if "completion" not in kinds:
            continue
        stored = ended.get(UUID(task))
        if stored is None or stored.state != "succeeded" or stored.epoch != epoch:
            yield f"{task}: accepted at {epoch}, is {stored and tuple(stored)}"
