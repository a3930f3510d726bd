"""A wrong clock for one process: its time of day is off, as that of a host may be.

A library that is loaded before the C library's own shifts what `clock_gettime`,
`gettimeofday` and `time` say of the time of day. The monotonic clock stays as it is.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Final

_SOURCE: Final = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    const char *text = getenv("CHAOS_CLOCK_SHIFT");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


class HostClock:
    """Makes the environment of a process whose host's clock is wrong."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = directory / "host_clock.so"

    @cached_property
    def why_not(self) -> str:
        """Why this machine can't have one; empty if it can."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return "there is no C compiler to build the shifted clock with"
        source = self._directory / "host_clock.c"
        source.write_text(_SOURCE)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if built.returncode == 0 else f"the compiler refuses: {built.stderr[:200]}"

    def off_by(self, seconds: int) -> dict[str, str]:
        """Return the variables that put the clock off by so many seconds."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK_SHIFT": str(seconds)}
