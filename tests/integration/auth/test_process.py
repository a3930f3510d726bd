"""auth as a process, and the command that makes the first keys."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from meshkit.database.engine import Database
from tests.integration.auth.replicas import MASTER_KEY, Replica

ROOT = Path(__file__).parents[3]


async def run(
    database: Database, *arguments: str, master_key: str = MASTER_KEY
) -> tuple[int, str, str]:
    """Run auth's module; return its exit code and what it wrote to either stream."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}",
        "AGENTMESH_DATABASE__URL": database.url.render_as_string(hide_password=False),
        "AGENTMESH_AUTH__MASTER_KEY": master_key,
        "AGENTMESH_AUTH__KEY_ENVIRONMENT": "test",
        "AGENTMESH_GRPC__PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.auth", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_prints_a_line_for_each_key_and_the_keys_work(
    database: Database, auth: Replica
) -> None:
    code, out, err = await run(
        database,
        *("create-key", "--name", "of the task service", "--tenant", "mesh"),
        *("--role", "service", "--role", "viewer", "--subject", "service:task"),
        *("--", "--name", "the first", "--role", "admin"),
    )
    assert code == 0, err
    service, admin = (json.loads(line) for line in out.splitlines())
    assert service.keys() == admin.keys() == {"id", "name", "secret"}
    assert (service["name"], admin["name"]) == ("of the task service", "the first")
    assert service["secret"] not in err
    principal = await auth.verifier.verify(service["secret"])
    assert (principal.subject, principal.tenant) == ("service:task", "mesh")
    assert principal.may("mesh:delegate")
    principal = await auth.verifier.verify(admin["secret"])
    assert (principal.subject, principal.tenant) == (f"key:{admin['id']}", "default")
    assert principal.permissions == ("*",)


async def test_the_command_refuses_what_makes_no_sense_and_prints_no_key(
    database: Database, auth: Replica
) -> None:
    await auth.tokens.signing_keys()
    make = ("create-key", "--name", "a")
    refusals = await asyncio.gather(
        run(database, *make, "--role", "emperor"),
        run(database, *make, "--role", "admin", master_key="another master key of 32 characters"),
        run(database, *make, "--role", "admin", master_key="short"),
    )
    expected = (
        (1, "There is no role"),
        (1, "AGENTMESH_AUTH__MASTER_KEY"),
        (1, "at least 32"),
    )
    for (code, out, err), (expected_code, words) in zip(refusals, expected, strict=True):
        assert (code, out) == (expected_code, ""), err
        assert words in err
        assert "Traceback" not in err
        assert "short" not in err


async def test_auth_does_not_start_with_another_master_key(
    database: Database, auth: Replica
) -> None:
    await auth.tokens.signing_keys()
    code, out, _ = await run(database, master_key="another master key of 32 characters")
    assert code == 1
    line = json.loads(out.splitlines()[-1])
    assert line["event"] == "can't start"
    assert "AGENTMESH_AUTH__MASTER_KEY" in line["cause"]
    assert "Traceback" not in out
