"""Tables in Markdown, and the one of contenders: medians over rounds, ratios to the best peers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.contenders import POSTGRES, REDIS, Contender

HEADER = ("contender", "tasks/s", "least..most", "/ best PostgreSQL peer", "/ best in-memory peer")
PROMISES = ("durable", "a task is done by its")

Rates = Mapping[Contender, Sequence[float]]


def table(rates: Rates, notes: Mapping[Contender, str]) -> str:
    """Return the table as Markdown, and below it why a contender has no rate."""
    best = {store: _best(rates, store) for store in (POSTGRES, REDIS)}
    rows = [[*HEADER, *PROMISES]]
    for contender in rates:
        measured = rates[contender]
        figures = _figures(measured, best) if measured else ["-"] * 4
        rows.append([contender.name, *figures, contender.durable, contender.done])
    reasons = [f"{contender.name}: {why}" for contender, why in notes.items()]
    return "\n".join([markdown(rows), "", *reasons])


def _best(rates: Rates, store: str) -> float | None:
    medians = [
        statistics.median(each) for who, each in rates.items() if who.store == store and each
    ]
    return max(medians, default=None)


def _figures(measured: Sequence[float], best: Mapping[str, float | None]) -> list[str]:
    median = statistics.median(measured)
    ratios = [f"{median / rate:.2f}" if rate else "" for rate in best.values()]
    return [f"{median:,.0f}", f"{min(measured):,.0f}..{max(measured):,.0f}", *ratios]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, of which the first is the header, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
