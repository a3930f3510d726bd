"""What a check of a caller costs, and how soon a revocation is refused everywhere.

Run by `python -m bench.access`. The first table is CPU in this process: the interceptors that
authenticate and authorize a call, beside the least that either could do, a digest of the key and a
check of the token's signature. For the second a real mesh is run: a key that every service has
just taken is revoked, and each is asked until it refuses; the clock starts with the answer of the
revocation.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentmesh import Client
from bench.mesh_store import MeshStore
from bench.open_loop import HEADER, row
from bench.scratch import scratch
from bench.table import markdown
from meshkit.interceptors.authenticate import Authenticate
from meshkit.interceptors.authorize import Authorize
from meshkit.interceptors.chain import Call
from meshkit.security.api_keys import CachedApiKeys
from meshkit.security.credentials import Verifier
from meshkit.security.principal import Principal
from meshkit.security.rules import Rule
from meshkit.testing.tokens import TokenFactory

METHOD: Final = "/mesh.task.v1.TaskService/CreateTask"
RULES: Final = {METHOD: Rule("task:create", public=False, audit=False)}
KEY: Final = f"mesh_dev_{'0' * 32}_{'a' * 43}00000000"
PERMISSIONS: Final = ("task:create", "task:read", "self:read")
PATHS: Final = ("/auth/whoami", "/tasks", "/agents", "/tools", "/invocations")
ROUNDS: Final = 7


class Checks:
    """The interceptors of a server that looks at nothing but the caller."""

    def __init__(self) -> None:
        self.tokens = TokenFactory()
        keys = CachedApiKeys(self._known, fresh_seconds=3600, stale_seconds=3600)
        verifier = Verifier(tokens=self.tokens.verifier, api_keys=keys)
        self._authenticate = Authenticate(verifier, RULES)
        self._authorize = Authorize(RULES)

    async def check(self, credential: str) -> None:
        """Authenticate and authorize one call."""
        call = Call(METHOD, _NO_CONTEXT, b"", {"authorization": f"Bearer {credential}"}, False)
        await self._authenticate.admit(call)
        await self._authorize.admit(call)

    async def _known(self, _credential: str) -> Principal:
        return Principal("key:1", "acme", PERMISSIONS, credential_id="1")


_NO_CONTEXT: Any = None


async def cost(calls: int, work: Callable[[int], Awaitable[None]]) -> float:
    """Return the microseconds of CPU that a call takes, the median of some rounds."""
    measured = []
    for turn in range(ROUNDS):
        begun = time.process_time()
        for number in range(calls):
            await work(turn * calls + number)
        measured.append((time.process_time() - begun) / calls * 1e6)
    return statistics.median(measured)


async def costs(calls: int) -> str:
    """Measure what a check costs."""
    checks = Checks()
    tokens = [checks.tokens.sign(*PERMISSIONS) for _ in range(calls * ROUNDS)]
    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key(), private.sign(tokens[0].encode())

    async def digest(_number: int) -> None:
        hashlib.sha256(KEY.encode()).digest()

    async def signed(_number: int) -> None:
        public.verify(signature, tokens[0].encode())

    least_key, least_token = await cost(calls, digest), await cost(calls, signed)
    key = await cost(calls, lambda _number: checks.check(KEY))
    known = await cost(calls, lambda _number: checks.check(tokens[0]))
    fresh = await cost(calls, lambda number: checks.check(tokens[number]))
    return markdown(
        [
            ["authenticate and authorize a call", "µs", "of the least"],
            ["API key, known", f"{key:.1f}", f"{key / least_key:.1f} digests"],
            ["token, known", f"{known:.1f}", f"{known / least_token:.2f} signature checks"],
            ["token, seen for the first time", f"{fresh:.1f}", f"{fresh / least_token:.2f}"],
        ]
    )


async def refused_everywhere(url: str, admin_key: str, keys: int) -> list[float]:
    """Revoke keys one after another; return the seconds until all services refuse each."""
    measured = []
    async with (
        Client(url, admin_key) as client,
        httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=30) as http,
    ):
        for number in range(keys):
            key = await client.create_api_key(f"bench {number}", ["viewer"])
            headers = {"authorization": f"Bearer {key.secret}"}
            for path in PATHS:
                (await http.get(path, headers=headers)).raise_for_status()
            await client.revoke_api_key(key.id)
            measured.append(await _refusals(http, headers))
    return measured


async def _refusals(http: httpx.AsyncClient, headers: dict[str, str]) -> float:
    begun = time.monotonic()

    async def refuses(path: str) -> float:
        while (await http.get(path, headers=headers)).status_code != httpx.codes.UNAUTHORIZED:
            pass
        return time.monotonic() - begun

    return max(await asyncio.gather(*(refuses(path) for path in PATHS)))


async def revocations(keys: int) -> str:
    """Run a mesh and measure on it."""
    with scratch() as data:
        mesh = MeshStore(Path(data) / "mesh")
        async with mesh.running(), mesh.emptied() as server:
            measured = await refused_everywhere(server["gateway"], server["admin_key"], keys)
    return markdown([HEADER, row("revoked until refused by all services", measured)])


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="bench.access", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="in each of seven rounds")
    parser.add_argument("--keys", type=int, default=100, help="to revoke")
    chosen = parser.parse_args()
    print(asyncio.run(costs(chosen.calls)))
    print()
    print(asyncio.run(revocations(chosen.keys)))


if __name__ == "__main__":
    main()
