"""What holding a request against its bounds costs beside parsing it.

Run by `python -m bench.validation`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import protovalidate
from google.protobuf.message import Message

from mesh.task.v1 import task_pb2, task_service_pb2

ROUNDS = 7
CALLS = 5_000


def microseconds(work: Callable[[], object]) -> float:
    """Return the time of one call."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - begun) / CALLS * 1e6


def compare(name: str, message: Message) -> None:
    """Print the medians of both, measured in turn, and their ratio."""
    validator, data = protovalidate.Validator(), message.SerializeToString()
    pairs = [
        (
            microseconds(lambda: type(message).FromString(data)),
            microseconds(lambda: validator.collect_violations(message)),
        )
        for _ in range(ROUNDS)
    ]
    parse, check = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(checked / parsed for parsed, checked in pairs)
    print(f"{name:<24} parse {parse:6.1f} µs   validate {check:6.1f} µs   ratio {ratio:5.1f}")


def main() -> None:
    """Compare a request of one id with one that holds a task."""
    task = task_pb2.Task(capability="text.count", labels={"team": "red"}, priority=3)
    task.input.update({"text": "hello" * 50})
    task_id = "0192f0c1-7b9a-7e4e-8a2b-0123456789ab"
    compare("GetTask", task_service_pb2.GetTaskRequest(task_id=task_id))
    compare("CreateTask", task_service_pb2.CreateTaskRequest(task=task))


if __name__ == "__main__":
    main()
