"""What must be so once all is quiet: held against the databases and against what was seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from agentmesh.stack.composition import database_name
from agentmesh.stack.postgres import EmbeddedPostgres
from tests.chaos.history import read_all

_MOST_SHOWN: Final = 5

# Event, the states before it, the states after it, and what it does to the number of attempts.
_LIVE: Final = ("scheduled", "queued", "running", "paused")
_STEPS: Final = {
    "created": (("",), ("scheduled", "queued"), 0),
    "queued": (("scheduled",), ("queued",), 0),
    "started": (("queued",), ("running",), 1),
    "progressed": (("running",), ("running",), 0),
    "output": (("running",), ("running",), 0),
    "cancel_requested": (("running",), ("running",), 0),
    "retrying": (("running",), ("queued", "scheduled"), 0),
    "released": (("running",), ("queued",), -1),
    "paused": (("running",), ("paused",), 0),
    "resumed": (("paused",), ("queued",), -1),
    "updated": (_LIVE, _LIVE, 0),
    "succeeded": (("running",), ("succeeded",), 0),
    "dead_lettered": (("running",), ("dead_lettered",), 0),
    "failed": (_LIVE, ("failed",), 0),
    "cancelled": (_LIVE, ("cancelled",), 0),
}


@dataclass
class Findings:
    """What a run came to; `problems` must be empty.

    Attributes:
        accepted: Tasks that were acknowledged to clients.
        tasks: Tasks that there are, with those whose acknowledgement was lost.
        executions: Starts that agents saw.
        refused: Reports that were refused.
        unknown: Calls whose outcome was unknown.
    """

    problems: list[str] = field(default_factory=list)
    accepted: int = 0
    tasks: int = 0
    executed: int = 0
    executions: int = 0
    refused: int = 0
    unknown: int = 0
    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, offenders: Any) -> None:
        """Note a problem, if there are offenders."""
        listed = [str(each) for each in offenders]
        if listed:
            self.problems.append(f"{len(listed)} {what}: {'; '.join(listed[:_MOST_SHOWN])}")

    @property
    def repeated(self) -> float:
        """Percentage of executions beyond the first of each task."""
        return 100 * (self.executions - self.executed) / max(self.executed, 1)


async def check(postgres: EmbeddedPostgres, directory: Path) -> Findings:
    """Check everything; to be called once nothing is under way."""
    findings = Findings()
    connection = await postgres.connect(database_name("task"))
    try:
        ended = {
            row["id"]: row
            for row in await connection.fetch(
                "SELECT id, state, attempt, max_attempts, epoch, last_sequence FROM finished_tasks"
            )
        }
        await _check_tasks(connection, findings, ended, directory)
        await _check_log(connection, findings, ended)
        await _check_counters(connection, findings)
    finally:
        await connection.close()
    _check_reports(findings, ended, directory)
    await _check_invocations(postgres, findings, ended)
    return findings


async def _check_tasks(
    connection: Any, findings: Findings, ended: dict[UUID, Any], directory: Path
) -> None:
    acknowledged: dict[str, str] = {}
    refused = []
    for line in read_all(directory, "client"):
        if line["result"] != "ok":
            findings.codes[line["code"]] += 1
            findings.unknown += line["result"] == "unknown"
        if line["result"] == "refused" and line["op"] != "cancel":
            refused.append(line["code"])
        for index, task_id in enumerate(line["ids"]):
            request = f"{line['id']}:{index}"
            if acknowledged.setdefault(request, task_id) != task_id:
                findings.add("requests with two tasks", [request])
    accepted = {UUID(task_id) for task_id in acknowledged.values()}
    findings.add("creations refused", refused)
    findings.add("requests that share a task", range(len(acknowledged) - len(accepted)))
    findings.add("accepted tasks lost", accepted - ended.keys())
    live = await connection.fetch("SELECT id, state, attempt, blocked_by, awaits FROM tasks")
    findings.add("tasks that have not ended", map(tuple, live))
    both = await connection.fetch("SELECT id FROM tasks JOIN finished_tasks USING (id)")
    findings.add("tasks both ended and not", both)
    over = [row for row in ended.values() if row["attempt"] > row["max_attempts"]]
    findings.add("tasks with attempts beyond their policy", map(tuple, over))
    findings.accepted, findings.tasks = len(accepted), len(ended)
    findings.states = Counter(row["state"] for row in ended.values())


async def _check_log(connection: Any, findings: Findings, ended: dict[UUID, Any]) -> None:
    seen = set()
    async with connection.transaction():
        cursor = connection.cursor(
            "SELECT task_id, sequence, type, state, attempt, epoch FROM task_events"
            " ORDER BY task_id, sequence",
            prefetch=5000,
        )
        events = [tuple(event) async for event in cursor]
    for task_id, history in groupby(events, key=lambda event: event[0]):
        seen.add(task_id)
        wrong = _check_history(list(history), ended.get(task_id))
        findings.add(f"in the history of {task_id}", [wrong] if wrong else [])
    findings.add("tasks without a history", ended.keys() - seen)


def _check_history(events: list[tuple[Any, ...]], row: Any) -> str:
    state, attempt, epoch = "", 0, 0
    for place, (_, sequence, type_, after, attempts, now) in enumerate(events, start=1):
        sources, targets, step = _STEPS[type_]
        if sequence != place:
            return f"a gap before {sequence}"
        if state not in sources or after not in targets or attempts != attempt + step:
            return f"{type_} from {state}, attempt {attempt} to {after}, attempt {attempts}"
        if not (now == epoch + 1 if type_ == "started" else epoch <= now <= epoch + 1):
            return f"epoch {epoch} to {now} by {type_}"
        state, attempt, epoch = after, attempts, now
    if row is None:
        return "" if state in _LIVE else "it has ended, and its task is not there"
    stored = (row["state"], row["attempt"], row["epoch"], row["last_sequence"])
    told = (state, attempt, epoch, len(events))
    return "" if stored == told else f"stored {stored}, told {told}"


async def _check_counters(connection: Any, findings: Findings) -> None:
    limits = await connection.fetch(
        "SELECT key, taken, members, waiting FROM limits"
        " WHERE (taken, members, waiting) <> (0, 0, 0)"
    )
    findings.add("limits whose counters are off", map(tuple, limits))
    for table in ("limit_members", "outbox", "outbox_dead"):
        count = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        findings.add(f"rows left in {table}", range(count))


def _check_reports(findings: Findings, ended: dict[UUID, Any], directory: Path) -> None:
    """Hold what agents were answered against what became of the tasks."""
    started: Counter[str] = Counter()
    completed: dict[str, set[int]] = {}
    wrong, hollow = [], []
    for line in read_all(directory, "agent"):
        if line["ev"] == "start":
            started[line["task"]] += 1
            continue
        if line["ev"] == "hollow":
            hollow.append(line["task"])
            continue
        findings.refused += not line["accepted"]
        if line["kind"] == "completion" and line["accepted"]:
            completed.setdefault(line["task"], set()).add(line["epoch"])
    for task_id, epochs in completed.items():
        row = ended.get(UUID(task_id))
        if row is None or row["state"] != "succeeded" or epochs != {row["epoch"]}:
            wrong.append(f"{task_id}: accepted at {epochs}, is {row and tuple(row)}")
    findings.add("completions accepted wrongly", wrong)
    findings.add("tasks given to agents without their input", hollow)
    findings.executed, findings.executions = len(started), started.total()


async def _check_invocations(
    postgres: EmbeddedPostgres, findings: Findings, ended: dict[UUID, Any]
) -> None:
    connection = await postgres.connect(database_name("analytics"))
    try:
        rows = await connection.fetch(
            "SELECT task_id, count(*) AS count FROM invocations GROUP BY task_id"
        )
    finally:
        await connection.close()
    counts = {row["task_id"]: row["count"] for row in rows}
    findings.add("tasks never announced", ended.keys() - counts.keys())
    findings.add("tasks announced twice", [each for each, count in counts.items() if count > 1])
    findings.add("announced tasks that are not there", counts.keys() - ended.keys())
