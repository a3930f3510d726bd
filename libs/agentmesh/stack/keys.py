"""The API keys of a mesh, made at its first start and kept in its data directory."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentmesh.stack.errors import StackError
from agentmesh.stack.secrets import SecretFiles

ADMIN = "admin"
TIMEOUT_SECONDS = 120.0
DRAINED_LINES = 5


class Keys:
    """Make the keys that are missing, by the auth service's own offline command."""

    def __init__(
        self,
        secrets: SecretFiles,
        *,
        create_key: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
    ) -> None:
        self._secrets = secrets
        self._create_key = create_key
        self._environment = environment
        self._cwd = cwd

    async def ensure_admin(self) -> tuple[str, bool]:
        """Return the admin's key, and whether it was made just now."""
        if existing := self._secrets.read(ADMIN):
            return existing, False
        return await self._create(ADMIN, "--name", ADMIN, "--role", "admin"), True

    async def ensure_service(self, service: str) -> str:
        """Return the key by which a service proves itself to the others."""
        name = f"service-{service}"
        return self._secrets.read(name) or await self._create(
            name, "--name", name, "--role", "service", "--subject", f"service:{service}"
        )

    async def _create(self, name: str, *options: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._create_key,
            *options,
            env=self._environment,
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, complaints = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
        except BaseException:
            if process.returncode is None:
                process.kill()
            raise
        secret = _find_secret(output)
        if process.returncode != 0 or secret is None:
            raise _cannot_create(name, output + complaints)
        self._secrets.write(name, secret)
        return secret


def _find_secret(output: bytes) -> str | None:
    # The command may log other lines beside its answer.
    for line in reversed(output.splitlines()):
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        secret = answer.get("secret") if isinstance(answer, dict) else None
        if isinstance(secret, str):
            return secret
    return None


def _cannot_create(name: str, output: bytes) -> StackError:
    lines = output.decode(errors="replace").splitlines()[-DRAINED_LINES:]
    return StackError(
        f"the key {name!r} could not be made" + "".join(f"\n  {line}" for line in lines),
        "correct what these lines complain about, and start again",
    )
