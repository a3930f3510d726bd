"""Crash points: inert by themselves, and deadly at the hit that the environment names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from meshkit.failpoints import EXIT_CODE, VARIABLE, failpoint, parse

PROGRAM = """
from meshkit.failpoints import failpoint
for hit in (1, 2, 3):
    failpoint("here")
    print(hit, flush=True)
"""


def run(points: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: points}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_the_environment_nothing_happens() -> None:
    failpoint("here")


@pytest.mark.parametrize(
    ("points", "code", "printed"),
    [
        ("", 0, ["1", "2", "3"]),
        ("elsewhere=exit", 0, ["1", "2", "3"]),
        ("here=exit", EXIT_CODE, []),
        ("elsewhere=exit;here=exit@2", EXIT_CODE, ["1"]),
        ("here=raise@3", 1, ["1", "2"]),
        ("here=delay:0.001", 0, ["1", "2", "3"]),
    ],
)
def test_a_process_dies_at_the_hit_that_is_named(
    points: str, code: int, printed: list[str]
) -> None:
    done = run(points)
    assert (done.returncode, done.stdout.split()) == (code, printed)


def test_a_process_can_be_stopped_at_a_point() -> None:
    environment = {**os.environ, VARIABLE: "here=stop@2"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=30)
    assert output.split() == ["1", "2", "3"]


@pytest.mark.parametrize("points", ["here", "here=explode", "=", "here=exit@soon"])
def test_nonsense_is_refused(points: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(points)
