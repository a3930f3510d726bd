"""Counts failed sign-ins, and locks an address after too many."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from services.auth.domain.attempts import Failures, Lockout
from services.auth.domain.users import address_key
from services.auth.errors import SignInLocked
from services.auth.settings import AuthSettings
from services.auth.store import sign_in_failures as store
from services.auth.store.keys import now


class SignInAttempts:
    """Judges whether an address may try; alike whether or not anybody has it.

    Of passwords that are tried at the same time more may be hashed than are allowed, but
    none of those beyond is told from a wrong one.
    """

    def __init__(self, database: Database, settings: AuthSettings) -> None:
        self._database = database
        self._lockout = Lockout(
            settings.sign_in_failures, timedelta(seconds=settings.sign_in_window)
        )

    async def check(self, email: str) -> None:
        """Refuse an address that is locked, before anything is hashed.

        Raises:
            SignInLocked: It is.
        """
        address = address_key(email)

        async def work(connection: AsyncConnection) -> None:
            await self._judge(connection, await store.get_failures(connection, address))

        await self._database.read(work)

    async def fail(self, email: str) -> None:
        """Count a failure.

        Raises:
            SignInLocked: The address was locked meanwhile.
        """
        address, window = address_key(email), self._lockout.window

        async def work(connection: AsyncConnection) -> timedelta | None:
            failures = await store.add_failure(connection, address, window)
            before = Failures(failures.count - 1, failures.begin_time)
            return before.locked_for(self._lockout, await now(connection))

        locked_for = await self._database.transaction(work)
        if locked_for is not None:
            raise SignInLocked(locked_for.total_seconds())

    async def succeed(self, connection: AsyncConnection, email: str) -> None:
        """Forget the failures, with the transaction.

        Raises:
            SignInLocked: The address was locked meanwhile.
        """
        address = address_key(email)
        await self._judge(connection, await store.lock_failures(connection, address))
        await store.clear_failures(connection, address)

    async def forget(self, connection: AsyncConnection, email: str) -> None:
        """Forget the failures of an address, locked or not, with the transaction."""
        await store.clear_failures(connection, address_key(email))

    async def _judge(self, connection: AsyncConnection, failures: Failures | None) -> None:
        if failures is None:
            return
        locked_for = failures.locked_for(self._lockout, await now(connection))
        if locked_for is not None:
            raise SignInLocked(locked_for.total_seconds())
