"""Whether a lane's tasks may go to an agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from services.task.domain.lanes import LaneKey
from services.task.domain.task import Agent


class Fit(IntEnum):
    """A verdict.

    LATER: only tasks that have waited out their patience for a preferred agent.
    """

    NO = 0
    LATER = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Routing:
    """Which builds get the tasks of a capability that name none themselves."""

    current: str
    ramping: str
    percent: int

    def build_for(self, bucket: int) -> str:
        """Return the build for the tasks of a bucket, 0 to 99; -1 stands for none."""
        return self.ramping if self.ramping and 0 <= bucket < self.percent else self.current


def fit(  # noqa: C901, PLR0911 - a demand, a return
    key: LaneKey, agent: Agent, build_id: str, routing: Routing | None
) -> Fit:
    """Judge whether tasks of a lane may go to an agent that has the capability."""
    placement = key.placement
    agent_id = str(agent.id)
    if placement.agent_id and placement.agent_id != agent_id:
        return Fit.NO
    if agent_id in placement.excluded_agent_ids:
        return Fit.NO
    if not has_labels(agent.labels, placement.required_labels):
        return Fit.NO
    version = agent.capabilities.get(key.capability, "")
    if placement.version and not in_range(version, placement.version):
        return Fit.NO
    if placement.build_id:
        if placement.build_id != build_id:
            return Fit.NO
    elif routing is not None and routing.build_for(key.bucket) != build_id:
        return Fit.NO
    if not placement.prefers:
        return Fit.YES
    preferred = placement.preferred_agent_id == agent_id or (
        bool(placement.preferred_labels) and has_labels(agent.labels, placement.preferred_labels)
    )
    return Fit.YES if preferred else Fit.LATER


def has_labels(labels: Mapping[str, str], wanted: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether all wanted labels are there."""
    return all(labels.get(name) == value for name, value in wanted)


@lru_cache(maxsize=4096)
def in_range(version: str, wanted: str) -> bool:
    """Tell whether a version is in a range (PEP 440); one that is no version is in none."""
    try:
        return SpecifierSet(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def is_range(wanted: str) -> bool:
    """Tell whether a text can be read as a range of versions."""
    try:
        SpecifierSet(wanted)
    except InvalidSpecifier:
        return False
    return True
