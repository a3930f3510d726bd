"""Summarise the numbers of a CSV table, and say how far that has come."""

from __future__ import annotations

import asyncio
import csv
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentmesh import Agent, TaskContext, TaskFailed
from agentmesh.demo.samples import TABLES

Row = dict[str, str]

agent = Agent("demo-table", description="Summarises tables.", slots=4)


@dataclass(frozen=True, slots=True)
class Job:
    """Which table to summarise; after every `chunk` rows it rests for `pause` seconds."""

    file: str
    chunk: Annotated[int, Field(ge=1)] = 50
    pause: Annotated[float, Field(ge=0, le=10)] = 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """Statistics of a column's numbers; `missing` are the rows that have none."""

    heading: str
    count: int
    missing: int
    mean: float
    median: float
    stdev: float
    minimum: float
    maximum: float
    quartiles: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """The number of rows, and the columns that hold numbers, from left to right."""

    rows: int
    columns: list[Column]


@agent.task("table.summarise")
async def summarise(ctx: TaskContext, job: Job) -> Summary:
    """Compute statistics of each column of numbers."""
    if job.file not in TABLES:
        raise TaskFailed(f"there is no table {job.file!r}", type="FileNotFound")
    rows = await asyncio.to_thread(_read, TABLES[job.file])
    values: dict[str, list[str]] = defaultdict(list)
    for begin in range(0, len(rows), job.chunk):
        for row in rows[begin : begin + job.chunk]:
            for heading, value in row.items():
                values[heading].append(value.strip())
        done = min(begin + job.chunk, len(rows))
        await ctx.progress(done / len(rows), f"{done} of {len(rows)} rows")
        # If the task is cancelled, this raises CancelledError and the work ends here.
        await asyncio.sleep(job.pause)
    columns = [_column(heading, of_column) for heading, of_column in values.items()]
    return Summary(len(rows), [column for column in columns if column])


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, restval=""))


def _column(heading: str, values: list[str]) -> Column | None:
    """Return the statistics, or None unless there are at least two values and all are numbers."""
    try:
        numbers = [float(value) for value in values if value]
    except ValueError:
        return None
    if len(numbers) < 2:
        return None
    first, second, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return Column(
        heading=heading,
        count=len(numbers),
        missing=len(values) - len(numbers),
        mean=round(statistics.fmean(numbers), 3),
        median=round(second, 3),
        stdev=round(statistics.stdev(numbers), 3),
        minimum=min(numbers),
        maximum=max(numbers),
        quartiles=(round(first, 3), round(second, 3), round(third, 3)),
    )


if __name__ == "__main__":
    agent.run()
