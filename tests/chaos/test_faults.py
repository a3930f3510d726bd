"""The faults are what they are said to be, and follow from the seed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.disk import SmallDisk
from tests.chaos.faults import KINDS, schedule
from tests.chaos.host_clock import HostClock
from tests.chaos.injector import Injector
from tests.chaos.mesh import ChaosMesh
from tests.chaos.points import crash_points
from tests.chaos.workload import wishes

HOUR = 3600


def test_a_schedule_follows_from_the_seed() -> None:
    one, again, other = (
        schedule(seed, tasks=1000, count=20, points=crash_points()) for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other
    only = schedule(1, tasks=1000, count=5, points=(), kinds=["kill task"])
    assert [fault.kind for fault in only] == ["kill task"] * 5


def test_wishes_follow_from_the_seed_and_the_client() -> None:
    assert wishes(1, 0, 500) == wishes(1, 0, 500)
    assert wishes(1, 0, 500) != wishes(1, 1, 500)
    assert sum(wish.tasks for wish in wishes(1, 0, 500)) == 500
    [wish, *_] = wishes(1, 0, 500)
    [task, again] = (wish.task(0, ()) for _ in range(2))
    assert (task.input, task.options) == (again.input, again.options)


def test_there_is_a_way_to_inject_each_kind(tmp_path: Path) -> None:
    assert Injector(ChaosMesh(tmp_path, 1))._ways.keys() == KINDS.keys()


def test_a_host_clock_is_off_for_the_process_that_is_given_it(tmp_path: Path) -> None:
    clock = HostClock(tmp_path)
    if clock.why_not:
        pytest.skip(clock.why_not)
    program = "import datetime, time; print(time.time(), datetime.datetime.now().timestamp())"
    for shift in (HOUR, -HOUR):
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **clock.off_by(shift)},
            capture_output=True,
            text=True,
            check=True,
        )
        for seconds in map(float, told.stdout.split()):
            assert abs(seconds - time.time() - shift) < 60


async def test_a_small_disk_is_full_to_the_last_byte_until_there_is_room(tmp_path: Path) -> None:
    async with SmallDisk(tmp_path / "disk", 8 << 20) as disk:
        if disk.why_not:
            pytest.skip(f"no disk can be mounted here: {disk.why_not}")
        file = disk.directory / "file"
        file.write_bytes(b"x" * 4096)
        assert disk.fill() > 6 << 20
        with pytest.raises(OSError, match="No space left"):
            (disk.directory / "more").write_bytes(b"x" * 4096)
        disk.make_room()
        (disk.directory / "more").write_bytes(b"x" * 4096)
    assert not (tmp_path / "disk" / "file").exists()
