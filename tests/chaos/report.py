"""What a run came to, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.findings import Findings


@dataclass
class Outcome:
    """A run that was made.

    Attributes:
        recoveries: Seconds from each fault to the next task done, by kind.
        drain: Seconds from the last acknowledgement until nothing was left to do.
        skipped: Faults that this machine can't have, and why.
    """

    seed: int
    asked: int
    points: int
    seconds: float = 0.0
    drain: float = 0.0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    points_hit: set[str] = field(default_factory=set)
    skipped: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return not self.problems and not self.findings.problems


def show(outcome: Outcome) -> str:
    """Describe a run."""
    found = outcome.findings
    faults = sum(len(each) for each in outcome.recoveries.values())
    lines = [
        f"seed {outcome.seed}: {outcome.asked} tasks in {outcome.seconds:.0f} s, {faults} faults",
        f"tasks accepted {found.accepted}, in all {found.tasks}: {dict(found.states)}",
        f"of them {dict(found.features)}",
        f"tasks lost {_count(found, 'accepted tasks lost')}",
        f"executed more than once {found.repeated:.2f} %, for whatever reason",
        f"attempts failed {found.retried}, given back {found.given_back}, lapsed {found.lapsed}",
        f"reports refused {found.refused}",
        f"calls with an unknown outcome {found.unknown}",
        f"calls of the SDK {found.sdk_calls}, failed visibly {found.visible}",
        f"of those without a fault but graceful restarts {found.noticed}",
        f"crash points hit {len(outcome.points_hit)} of {2 * outcome.points}",
        f"backlog drained in {outcome.drain:.1f} s",
        "recovery, s                           n    p50    p99    max",
    ]
    lines += [_row(kind, seconds) for kind, seconds in sorted(outcome.recoveries.items())]
    lines += [f"{count:>6} x {code[:150]}" for code, count in found.codes.most_common(12)]
    lines += [f"SKIPPED {kind}: {why}" for kind, why in outcome.skipped.items()]
    lines += [f"PROBLEM {each}" for each in (*outcome.problems, *found.problems)]
    lines.append("all is as it must be" if outcome.ok else "NOT as it must be")
    return "\n".join(lines)


def _count(found: Findings, what: str) -> str:
    return next((each.split()[0] for each in found.problems if what in each), "0")


def _row(kind: str, seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return f"  {kind:<33} {len(ordered):>3} {p50:>6.2f} {p99:>6.2f} {ordered[-1]:>6.2f}"
