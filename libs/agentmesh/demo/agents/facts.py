"""Find facts: the sentences of some texts that answer a query best."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agentmesh import Agent, TaskFailed
from agentmesh.demo.samples import TEXTS

SENTENCE = re.compile(r"\S.*?[.!?](?=\s|$)", re.DOTALL)
WORD = re.compile(r"[\w'-]+")

agent = Agent("demo-facts", description="Finds facts in texts about nature.")


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; without `files` in every text."""

    words: str
    files: list[str] = field(default_factory=list)
    limit: int = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence, where it begins, and the share of the query's words that it has."""

    sentence: str
    file: str
    line: int
    score: float


@agent.task("facts.find")
def find(query: Query) -> list[Fact]:
    """Find the sentences that have the most of the query's words."""
    wanted = _words(query.words)
    if not wanted:
        raise TaskFailed("there is no word in the query", type="EmptyQuery")
    facts = [fact for name in query.files or TEXTS for fact in _facts(_text(name), wanted)]
    # Of sentences that answer equally well, the shortest says least besides.
    facts.sort(key=lambda fact: (-fact.score, len(fact.sentence)))
    return facts[: query.limit]


def _text(name: str) -> Path:
    if name not in TEXTS:
        raise TaskFailed(f"there is no text {name!r}", type="FileNotFound")
    return TEXTS[name]


def _facts(path: Path, wanted: set[str]) -> Iterator[Fact]:
    text = path.read_text(encoding="utf-8")
    for match in SENTENCE.finditer(text):
        score = len(wanted & _words(match.group())) / len(wanted)
        if score > 0:
            line = text.count("\n", 0, match.start()) + 1
            yield Fact(" ".join(match.group().split()), path.name, line, round(score, 3))


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.casefold()))


if __name__ == "__main__":
    agent.run()
