"""The API keys of a mesh, made at its first start and kept in its data directory."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
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

    async def ensure(self, services: Sequence[str]) -> bool:
        """Make what is missing of the admin's key and the services'; tell whether the admin's was.

        All in one run of the command, for most of it is the start of a process.
        """
        wanted = {ADMIN: ("--name", ADMIN, "--role", "admin", "--role", "platform")} | {
            _name(service): (
                *("--name", _name(service), "--role", "service"),
                *("--subject", f"service:{service}"),
            )
            for service in services
        }
        missing = {
            name: options for name, options in wanted.items() if not self._secrets.read(name)
        }
        if missing:
            await self._create(missing)
        return ADMIN in missing

    def admin(self) -> str:
        """Return the admin's key."""
        return self._secrets.read(ADMIN) or ""

    def service(self, service: str) -> str:
        """Return the key by which a service proves itself to the others."""
        return self._secrets.read(_name(service)) or ""

    async def _create(self, missing: Mapping[str, Sequence[str]]) -> None:
        first, *others = missing.values()
        process = await asyncio.create_subprocess_exec(
            *self._create_key,
            *first,
            *(argument for options in others for argument in ("--", *options)),
            env=self._environment,
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                output, complaints = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
            raise
        made = _find_secrets(output)
        if process.returncode != 0 or made.keys() != missing.keys():
            raise _cannot_create(output + complaints)
        for name, secret in made.items():
            self._secrets.write(name, secret)


def _name(service: str) -> str:
    return f"service-{service}"


def _find_secrets(output: bytes) -> dict[str, str]:
    # The command may log other lines beside its answers.
    answers = []
    for line in output.splitlines():
        with suppress(ValueError):
            answers.append(json.loads(line))
    return {
        each["name"]: each["secret"]
        for each in answers
        if isinstance(each, dict) and {"name", "secret"} <= each.keys()
    }


def _cannot_create(output: bytes) -> StackError:
    lines = output.decode(errors="replace").splitlines()[-DRAINED_LINES:]
    return StackError(
        "the API keys could not be made" + "".join(f"\n  {line}" for line in lines),
        "correct what these lines complain about, and start again",
    )
