"""Count the words of a text, and compare two texts by their words."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from agentmesh import Agent, TaskContext

WORD = re.compile(r"[\w'-]+")

agent = Agent("demo-words", description="Counts and compares words.")


@dataclass(frozen=True, slots=True)
class Text:
    """A text; the first `hiccups` attempts at it fail, to try out retries."""

    text: str
    most: int = 3
    hiccups: int = 0


@dataclass(frozen=True, slots=True)
class Frequency:
    """How often a word occurs."""

    word: str
    times: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many words there are, how many different ones, and the most frequent first."""

    words: int
    distinct: int
    most_frequent: list[Frequency]


@agent.task("words.count")
def count(ctx: TaskContext, text: Text) -> Count:
    """Count words."""
    if ctx.attempt <= text.hiccups:
        raise ConnectionError(f"attempt {ctx.attempt} went wrong, as asked for")
    counted = _count(text.text)
    frequent = [Frequency(word, times) for word, times in counted.most_common(text.most)]
    return Count(counted.total(), len(counted), frequent)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """How many words two texts share, and how alike they are, from 0 to 1.

    `jaccard` is the shared part of the vocabulary; `cosine` minds how often words occur.
    """

    shared: int
    jaccard: float
    cosine: float


@agent.task("words.compare")
def compare(pair: Pair) -> Likeness:
    """Compare two texts by their words."""
    left, right = _count(pair.left), _count(pair.right)
    shared, either = left.keys() & right.keys(), left.keys() | right.keys()
    product = sum(left[word] * right[word] for word in shared)
    length = _length(left) * _length(right)
    return Likeness(
        shared=len(shared),
        jaccard=round(len(shared) / len(either), 3) if either else 0.0,
        cosine=round(product / length, 3) if length else 0.0,
    )


def _count(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.casefold()))


def _length(counted: Counter[str]) -> float:
    return math.hypot(*counted.values())


if __name__ == "__main__":
    agent.run()
