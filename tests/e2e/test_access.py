"""A new operator's way with the command line and HTTP: roles, keys, limits, revocation, audit."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.mesh import RunningMesh
from tests.e2e.programs import Done, run
from tests.waiting import until_true

TASK = {"capability": "nobody.has", "input": {}}


class Operator:
    """Types commands, and calls with any credential."""

    def __init__(self, mesh: RunningMesh, http: httpx.AsyncClient) -> None:
        self._mesh = mesh
        self._http = http
        self.admin_key = mesh.admin_key

    async def types(self, *arguments: str, exits: int = 0) -> str:
        """Run a command; return what it prints."""
        command = (sys.executable, "-P", "-m", "agentmesh.cli", *arguments)
        done: Done = await run(*command, env=self._mesh.environment)
        assert done.code == exits, done.output + done.errors
        return done.output

    async def posts(self, key: str, path: str, **body: object) -> httpx.Response:
        """Post JSON with a credential."""
        return await self._http.post(path, json=body, headers={"authorization": f"Bearer {key}"})

    async def gets(self, key: str, path: str, **headers: str) -> httpx.Response:
        """Get something with a credential."""
        return await self._http.get(path, headers={"authorization": f"Bearer {key}", **headers})


@pytest.fixture
async def http(mesh: RunningMesh) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{mesh.url}/api/v1", timeout=30) as client:
        yield client


async def test_a_key_that_may_do_one_thing_five_times_a_second(
    mesh: RunningMesh, http: httpx.AsyncClient
) -> None:
    operator = Operator(mesh, http)
    await operator.types("role", "create", "submitter", "--permission", "task:create")
    made = await operator.types("key", "create", "nightly", "--role", "submitter", "--rate", "5")
    key_id, secret = re.findall(r"^(?:id|secret) +(\S+)$", made, re.MULTILINE)
    answers = [await operator.posts(secret, "/tasks", **TASK) for _ in range(12)]
    refused = next(each for each in answers if each.status_code == 429)
    # It is a bad request five times before it is one too many.
    assert [each.status_code for each in answers[:5]] == [400] * 5
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["details"][0]["reason"] == "RATE_LIMITED"

    async def lacks_the_permission() -> bool:
        answer = await operator.gets(secret, "/tasks")
        if answer.status_code == 429:
            return False
        assert answer.status_code == 403
        assert answer.json()["details"][0]["metadata"] == {"permission": "task:read"}
        return True

    await until_true(lacks_the_permission)
    why = await operator.types("role", "explain", f"key:{key_id}", "task:read", exits=1)
    assert "No role that is held allows task:read; roles held: submitter." in why
    assert "sent" not in await operator.types("key", "list", "--query", "nightly")

    await operator.types("key", "revoke", key_id)

    async def is_refused_everywhere() -> bool:
        paths = ("/auth/whoami", "/tasks", "/agents", "/tools", "/invocations")
        answers = [await operator.gets(secret, path) for path in paths]
        return {answer.status_code for answer in answers} == {401}

    await until_true(is_refused_everywhere)

    async def is_all_on_record() -> bool:
        log = await operator.types("audit", "list", "--limit", "200", "--json")
        lines = [line for line in log.splitlines() if key_id in line or "submitter" in line]
        wanted = ("CreateRole", "CreateApiKey", "RATE_LIMITED", "lacked task:read", "RevokeApiKey")
        return all(any(each in line for line in lines) for each in wanted)

    await until_true(is_all_on_record)
    assert "without a gap" in " ".join((await operator.types("audit", "verify")).split())


async def test_an_export_is_verified_and_a_changed_one_is_not(
    mesh: RunningMesh, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    operator = Operator(mesh, http)
    await operator.types("role", "create", "forgotten", "--permission", "task:read")
    await operator.types("role", "delete", "forgotten")

    async def is_on_record() -> bool:
        return "DeleteRole" in await operator.types("audit", "export")

    await until_true(is_on_record)
    exported = await operator.types("audit", "export")
    whole, changed = tmp_path / "whole.jsonl", tmp_path / "changed.jsonl"
    whole.write_text(exported)
    changed.write_text(exported.replace("forgotten", "innocent"))
    await operator.types("audit", "verify", "--file", str(whole))
    await operator.types("audit", "verify", "--file", str(changed), exits=1)


async def test_a_user_is_invited_signs_in_and_is_disabled(
    mesh: RunningMesh, http: httpx.AsyncClient
) -> None:
    operator, admin = Operator(mesh, http), mesh.admin_key
    invited = (await operator.posts(admin, "/users", email="ada@example.org")).json()
    subject, password = invited["user"]["subject"], "a long enough password"
    answer = await http.post(
        "/auth/password:reset",
        json={"resetToken": invited["invitation"], "newPassword": password},
    )
    assert answer.status_code == 200, answer.text
    await operator.types("role", "bind", "viewer", subject)

    pair: dict[str, str] = {}

    async def signs_in() -> bool:
        credentials = {"email": "Ada@Example.org", "password": password}
        pair.update((await http.post("/auth/login", json=credentials)).json())
        # A token of the very moment in which the role was given is refused.
        return (await operator.gets(pair["accessToken"], "/tasks")).status_code == 200

    await until_true(signs_in)
    wrong = await http.post(
        "/auth/login", json={"email": "ada@example.org", "password": "a wrong password"}
    )
    nobody = await http.post(
        "/auth/login", json={"email": "nobody@example.org", "password": "a wrong password"}
    )
    assert (wrong.status_code, nobody.status_code) == (401, 401)
    assert wrong.json()["message"] == nobody.json()["message"]
    refreshed = await http.post("/auth/refresh", json={"refreshToken": pair["refreshToken"]})
    token = refreshed.json()["accessToken"]
    assert (await operator.gets(token, "/auth/whoami")).json()["subject"] == subject
    # The token that was replaced before the last one ends the session.
    again = await http.post(
        "/auth/refresh", json={"refreshToken": refreshed.json()["refreshToken"]}
    )
    assert again.status_code == 200
    reused = await http.post("/auth/refresh", json={"refreshToken": pair["refreshToken"]})
    assert reused.status_code == 401
    await _is_on_record(operator, subject)
    disabled = await operator.posts(admin, f"/users/{invited['user']['id']}:disable")
    assert disabled.json()["state"] == "STATE_DISABLED"

    async def is_refused_everywhere() -> bool:
        answers = [await operator.gets(token, path) for path in ("/tasks", "/agents", "/sessions")]
        return {answer.status_code for answer in answers} == {401}

    await until_true(is_refused_everywhere)


async def _is_on_record(operator: Operator, subject: str) -> None:
    """Wait until what a user did is on record, and a stranger's attempt in another log."""
    own = f'subject = "{subject}"'
    wanted = ("ResetPassword ALLOWED", "Login ALLOWED", "Login DENIED", "RefreshToken DENIED")

    async def is_there() -> bool:
        log = await operator.types("audit", "list", "--filter", own, "--limit", "200", "--json")
        seen = {_act(json.loads(line)) for line in log.splitlines()}
        nobodys = await operator.gets(operator.admin_key, "/auditRecords", **{"x-mesh-tenant": ""})
        strangers = {_act(each) for each in nobodys.json().get("auditRecords", ())}
        return seen.issuperset(wanted) and "Login DENIED" in strangers

    await until_true(is_there)


def _act(record: dict[str, str]) -> str:
    return f"{record['method'].rpartition('/')[2]} {record['decision'].rpartition('_')[2]}"


async def test_another_tenant_is_entered_by_who_may_and_that_is_on_record(
    mesh: RunningMesh, http: httpx.AsyncClient
) -> None:
    operator = Operator(mesh, http)
    there = await operator.gets(mesh.admin_key, "/auth/whoami", **{"x-mesh-tenant": "umbrella"})
    assert there.json()["tenant"] == "umbrella"
    confined = await operator.types("key", "create", "confined", "--role", "admin")
    [secret] = re.findall(r"^secret +(\S+)$", confined, re.MULTILINE)
    answer = await operator.gets(secret, "/auth/whoami", **{"x-mesh-tenant": "umbrella"})
    assert answer.status_code == 403
    assert answer.json()["details"][0]["metadata"] == {"permission": "mesh:tenants"}

    async def is_on_record() -> bool:
        crossing = {"x-mesh-tenant": "umbrella"}
        records = await operator.gets(mesh.admin_key, "/auditRecords", **crossing)
        return "WhoAmI" in records.text

    await until_true(is_on_record)
