"""What analytics says of the demo's tasks, held against what the demo saw itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from agentmesh.client import Client
from agentmesh.demo.following import Outcome
from agentmesh.demo.script import AGENTS, CAPABILITIES
from agentmesh.resources import Overview, Totals

ARRIVAL_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.2

Counts = Counter[str]
"""How many tasks ended in which state."""


async def settled_overview(
    client: Client, outcomes: Sequence[Outcome], agent_names: Mapping[str, str]
) -> tuple[Overview, list[str]]:
    """Return the overview since the demo's first task, and how it differs from the outcomes.

    Waits, up to a bound, until the last tasks have reached analytics. Tasks that ended
    before the demo began are left out, so that the mesh may be an old one.

    Raises:
        MeshError: The mesh stays away.
    """
    since = min(outcome.task.create_time for outcome in outcomes)
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        overview = await client.overview(since)
        found = list(differences(overview, outcomes, agent_names))
        if not found or time.monotonic() > deadline:
            return overview, found
        await asyncio.sleep(POLL_SECONDS)


def differences(
    overview: Overview, outcomes: Sequence[Outcome], agent_names: Mapping[str, str]
) -> Iterator[str]:
    """Yield, in words, each figure in which the overview and the outcomes differ."""
    ended = [outcome for outcome in outcomes if outcome.task.is_done]
    by_capability = _count((each.task.capability, each) for each in ended)
    yield from _compare(CAPABILITIES, overview.capabilities, by_capability)
    by_agent = _count((agent_names.get(each.task.agent_id, ""), each) for each in ended)
    yield from _compare([agent.name for agent in AGENTS], overview.agents, by_agent)


def _count(keyed: Iterable[tuple[str, Outcome]]) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    for key, outcome in keyed:
        counts.setdefault(key, Counter())[outcome.task.state] += 1
    return counts


def _compare(
    names: Iterable[str], recorded: Mapping[str, Totals], seen: Mapping[str, Counts]
) -> Iterator[str]:
    for name in names:
        ours = seen.get(name, Counter())
        theirs = _counts_of(recorded[name]) if name in recorded else Counter()
        if ours != theirs:
            yield f"analytics has {_words(theirs)} of {name}, and the demo saw {_words(ours)}"


def _counts_of(totals: Totals) -> Counts:
    return Counter(
        {"SUCCEEDED": totals.succeeded, "FAILED": totals.failed, "CANCELLED": totals.cancelled}
    )


def _words(counts: Counts) -> str:
    words = [f"{count} {state.lower()}" for state, count in sorted(counts.items()) if count]
    return ", ".join(words) or "nothing"
