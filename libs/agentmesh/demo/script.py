"""The script of the demo: which tasks it submits, and how each is to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentmesh.demo.samples import TEXTS


@dataclass(frozen=True, slots=True)
class End:
    """How a task ends.

    Attributes:
        state: `SUCCEEDED`, `FAILED` or `CANCELLED`.
        says: A piece of what its headline says.
        attempts: How many attempts it takes.
    """

    state: str
    says: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One task of the demo.

    Attributes:
        title: The task in words.
        cancel_at: The progress, from 0 to 1, at which the demo calls it off.
    """

    title: str
    capability: str
    input: Mapping[str, Any]
    end: End
    cancel_at: float | None = None


@dataclass(frozen=True, slots=True)
class SampleAgent:
    """A sample agent: its name in the mesh, the module that runs it, and what it can do."""

    name: str
    module: str
    capabilities: tuple[str, ...]


AGENTS: Final = (
    SampleAgent("demo-facts", "agentmesh.demo.agents.facts", ("facts.find",)),
    SampleAgent("demo-words", "agentmesh.demo.agents.words", ("words.count", "words.compare")),
    SampleAgent("demo-table", "agentmesh.demo.agents.table", ("table.summarise",)),
)

CAPABILITIES: Final = tuple(name for agent in AGENTS for name in agent.capabilities)


def steps() -> list[Step]:
    """Return the tasks in the order in which they are submitted."""
    # The slowest first, so that all is done soonest.
    return [*_tables(), *_counts(), *_comparisons(), *_facts()]


def _tables() -> list[Step]:
    weather = {"file": "weather.csv", "chunk": 30, "pause": 0.15}
    capability = "table.summarise"
    return [
        Step("weather", capability, weather, _succeeded("365 rows; temperature_c mean 9.283")),
        Step(
            "weather, called off halfway",
            capability,
            {"file": "weather.csv", "chunk": 20, "pause": 0.2},
            End("CANCELLED", "when it was called off"),
            cancel_at=0.5,
        ),
        Step("planets", capability, {"file": "planets.csv"}, _succeeded("8 rows; mass_earths")),
        Step(
            "planets, one row at a time",
            capability,
            {"file": "planets.csv", "chunk": 1, "pause": 0.2},
            _succeeded("8 rows; mass_earths"),
        ),
        Step(
            "a table that doesn't exist",
            capability,
            {"file": "unicorns.csv"},
            End("FAILED", "FileNotFound"),
        ),
    ]


def _counts() -> list[Step]:
    capability = "words.count"
    return [
        Step(
            "rivers, at the second attempt",
            capability,
            {"text": _text("rivers.txt"), "hiccups": 1},
            End("SUCCEEDED", "218 words", attempts=2),
        ),
        Step("rivers", capability, {"text": _text("rivers.txt")}, _succeeded("218 words")),
        Step("planets", capability, {"text": _text("planets.txt")}, _succeeded("229 words")),
        Step("elements", capability, {"text": _text("elements.txt")}, _succeeded("222 words")),
        Step("an input without a text", capability, {"most": 3}, End("FAILED", "InvalidInput")),
    ]


def _comparisons() -> list[Step]:
    planets, rivers, elements = (
        _text(name) for name in ("planets.txt", "rivers.txt", "elements.txt")
    )
    return [
        _comparison("planets and rivers", planets, rivers, "30 words shared"),
        _comparison("planets and elements", planets, elements, "38 words shared"),
        _comparison("rivers and elements", rivers, elements, "25 words shared"),
        _comparison("rivers and rivers", rivers, rivers, "cosine 1.0"),
    ]


def _facts() -> list[Step]:
    answers = {
        "hottest planet": "Venus",
        "largest planet": "Jupiter",
        "brightest rings": "Saturn",
        "highest volcano": "Olympus Mons",
        "longest river in Europe": "Volga",
        "deepest river": "Congo",
        "largest delta": "Ganges",
        "four capital cities": "Danube",
        "lightest element": "Hydrogen",
        "highest melting point": "Tungsten",
        "hardest natural mineral": "diamond",
    }
    steps = [_question(words, answer) for words, answer in answers.items()]
    # One word with two meanings: the files to look in decide.
    steps.append(_question("Mercury", "smallest planet", "planets.txt"))
    steps.append(_question("Mercury", "only metal", "elements.txt"))
    return steps


def _comparison(title: str, left: str, right: str, says: str) -> Step:
    return Step(title, "words.compare", {"left": left, "right": right}, _succeeded(says))


def _question(words: str, answer: str, *files: str) -> Step:
    title = f"{words} ({', '.join(files)})" if files else words
    return Step(title, "facts.find", {"words": words, "files": list(files)}, _succeeded(answer))


def _succeeded(says: str) -> End:
    return End("SUCCEEDED", says)


def _text(name: str) -> str:
    return TEXTS[name].read_text(encoding="utf-8")
