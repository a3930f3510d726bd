"""What sign-ins cost other callers of auth: `python -m bench.sign_in`.

Auth runs in a process of its own, with the password settings of production. A cheap RPC,
WhoAmI with an access token, comes by the clock, first alone, then while a crowd signs in
and each of it signs in anew as soon as it is in. Both are measured in turns, in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop
from grpc import aio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agentmesh.stack.postgres import EmbeddedPostgres
from bench.open_loop import HEADER, quantile, row, timed
from bench.table import markdown
from mesh.auth.v1.auth_service_pb2 import WhoAmIRequest
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from mesh.auth.v1.user_service_pb2 import LoginRequest
from mesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.server import Server
from meshkit.settings import DatabaseSettings, GrpcSettings, IdentitySettings, LogSettings
from meshkit.telemetry.logs import configure_logs
from services.auth.create_key import MIGRATIONS
from services.auth.replica import Replica
from services.auth.settings import AuthSettings
from services.auth.usecases.hashing import PasswordHasher

CROWD: Final = 50
ROUNDS: Final = 3
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - nobody's
MASTER_KEY: Final = SecretStr("master key of a benchmark, 32 letters")


def email_of(number: int) -> str:
    """Return the address of one of the crowd."""
    return f"user{number}@example.org"


async def enrol(database: Database, replica: Replica, settings: AuthSettings) -> None:
    """Make the crowd, all viewers with one password."""
    for number in range(CROWD):
        await replica.accounts.users.invite("acme", email=email_of(number), display_name="")
    hashed = await PasswordHasher(settings).hash(PASSWORD)

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("UPDATE users SET password_hash = :hash"), {"hash": hashed})
        await connection.execute(
            text(
                "INSERT INTO role_bindings (id, tenant, subject, role, creator, create_time)"
                " SELECT id, tenant, 'user:' || id, 'viewer', 'operator', now() FROM users"
            )
        )

    await database.transaction(work)


async def serve(url: str, parent: Connection) -> None:
    """Serve auth as its process does, its log in a file, until the process is ended."""
    settings = AuthSettings(master_key=MASTER_KEY)
    database = Database(DatabaseSettings(url=SecretStr(url)))
    replica = Replica(database, settings, IdentitySettings())
    with tempfile.TemporaryFile("w", encoding="utf-8") as log:
        configure_logs(LogSettings(), service="bench", stream=log)
        await replica.prepare()
        await enrol(database, replica, settings)
        server = Server(GrpcSettings(port=0), verifier=replica.verifier, log_calls=False)
        replica.add_to(server)
        await server.start()
        parent.send(server.port)
        async with asyncio.TaskGroup() as beside:
            for each in replica.background():
                beside.create_task(each)


def serve_in_process(url: str, parent: Connection) -> None:
    """Do the same in a process of its own."""
    uvloop.run(serve(url, parent))


@contextmanager
def served(url: str) -> Iterator[int]:
    """Run auth in a process of its own; gives its port."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=serve_in_process, args=(url, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


@dataclass
class Crowd:
    """Signs in over and over.

    Attributes:
        count: How often somebody was let in.
    """

    users: UserServiceStub
    count: int = 0

    @asynccontextmanager
    async def signing_in(self) -> AsyncIterator[None]:
        """Keep so many sign-ins waiting, within the block."""
        members = [asyncio.create_task(self._sign_in(number)) for number in range(CROWD)]
        try:
            yield
        finally:
            for each in members:
                each.cancel()
            await asyncio.gather(*members, return_exceptions=True)

    async def _sign_in(self, number: int) -> None:
        while True:
            await self.users.Login(LoginRequest(email=email_of(number), password=PASSWORD))
            self.count += 1


async def measure(port: int, rate: float, seconds: float) -> None:
    """Print how long the cheap RPC takes, alone and beside the crowd."""
    async with (
        aio.insecure_channel(f"127.0.0.1:{port}") as cheap,
        aio.insecure_channel(f"127.0.0.1:{port}") as crowded,
    ):
        crowd = Crowd(UserServiceStub(crowded))
        pair = await crowd.users.Login(LoginRequest(email=email_of(0), password=PASSWORD))
        metadata = (("authorization", f"Bearer {pair.access_token}"),)
        stub = AuthServiceStub(cheap)

        async def who_am_i() -> None:
            await stub.WhoAmI(WhoAmIRequest(), metadata=metadata)

        await timed(rate, min(seconds, 2.0), who_am_i)
        alone: list[float] = []
        beside: list[float] = []
        for _ in range(ROUNDS):
            alone += (await timed(rate, seconds, who_am_i))[0]
            async with crowd.signing_in():
                beside += (await timed(rate, seconds, who_am_i))[0]
    names = f"WhoAmI beside {CROWD} sign-ins"
    print(markdown([HEADER, row("WhoAmI alone", alone), row(names, beside)]))
    print(f"ratio of p99: {quantile(beside, 0.99) / quantile(alone, 0.99):.2f}")
    print(f"sign-ins: {crowd.count / (ROUNDS * seconds):.1f} a second")


async def main(rate: float, seconds: float) -> None:
    """Measure on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="agentmesh-") as temporary:
        async with EmbeddedPostgres(Path(temporary) / "data", durable=False) as postgres:
            await postgres.create_database("auth")
            url = postgres.url("auth")
            database = Database(DatabaseSettings(url=SecretStr(url)))
            await migrate(database.url, MIGRATIONS)
            await database.close()
            with served(url) as port:
                await measure(port, rate, seconds)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rate", type=float, default=100.0, help="cheap calls a second")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each of the turns")
    given = arguments.parse_args()
    uvloop.run(main(given.rate, given.seconds))
