"""Hashes passwords by argon2id, in few threads, so that nothing else has to wait for it."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2 import extract_parameters
from argon2.exceptions import VerificationError

from services.auth.errors import SignInBusy
from services.auth.settings import AuthSettings

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_NICENESS: Final = 10

Result = TypeVar("Result")


class PasswordHasher:
    """Hashes and checks passwords; so many wait for a thread, and more are refused."""

    def __init__(self, settings: AuthSettings) -> None:
        self._argon2 = Argon2(
            time_cost=settings.password_time_cost,
            memory_cost=settings.password_memory,
            parallelism=settings.password_parallelism,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        self._nobodys = _hash_of_nothing(settings)
        self._threads = ThreadPoolExecutor(
            settings.password_workers, "passwords", initializer=_yield_to_other_threads
        )
        self._room = threading.BoundedSemaphore(settings.password_workers + settings.password_queue)

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters.

        Raises:
            SignInBusy: Too many wait already.
        """
        return await self._in_thread(lambda: self._argon2.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether a password is the one that was hashed.

        None stands for nobody's hash: that takes as long, and no password fits.

        Raises:
            SignInBusy: Too many wait already.
        """
        checked = self._nobodys if password_hash is None else password_hash
        fits = await self._in_thread(lambda: self._fits(checked, password))
        return fits and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether a hash was made with other parameters than those of now."""
        return self._argon2.check_needs_rehash(password_hash)

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerificationError:
            return False

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if not self._room.acquire(blocking=False):
            raise SignInBusy
        job = self._threads.submit(work)
        # Called when it is done, or cancelled before it began because its caller has gone away.
        job.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(job)


def _hash_of_nothing(settings: AuthSettings) -> str:
    """Make what looks like a hash, with the parameters of now, and fits no password."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_SALT_BYTES, _HASH_BYTES)
    )
    parameters = (
        f"m={settings.password_memory},t={settings.password_time_cost},"
        f"p={settings.password_parallelism}"
    )
    made = f"$argon2id$v=19${parameters}${salt}${digest}"
    extract_parameters(made)
    return made


def _yield_to_other_threads() -> None:
    """Let the event loop go first where there are too few cores; only Linux has this by thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
