"""The books balance: what was accepted has ended, once, and was announced, once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from uuid import UUID


def unbalanced(
    accepted: Collection[UUID],
    live: Collection[UUID],
    ended: Collection[UUID],
    announced: Mapping[UUID, int],
) -> Iterator[tuple[str, list[UUID]]]:
    """Yield each kind of thing that is wrong, and where.

    Args:
        accepted: Tasks that were acknowledged.
        live: Tasks that are stored as not ended, when nothing is left to do.
        ended: Tasks that are stored as ended.
        announced: How often the end of each was announced.
    """
    known = set(ended)
    yield "accepted tasks lost", [each for each in accepted if each not in known]
    yield "tasks that have not ended", list(live)
    yield "tasks both ended and not", [each for each in live if each in known]
    yield "tasks never announced", [each for each in ended if each not in announced]
    yield "tasks announced twice", [each for each, count in announced.items() if count > 1]
    yield "announced tasks that are not there", [each for each in announced if each not in known]
