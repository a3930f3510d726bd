"""The audit log as services write it and callers read it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode, aio

from mesh.auth.v1.api_key_pb2 import ApiKey
from mesh.auth.v1.audit_pb2 import AuditRecord
from mesh.auth.v1.audit_service_pb2 import (
    ExportAuditRecordsRequest,
    ListAuditCheckpointsRequest,
    ListAuditRecordsRequest,
    RecordAuditRequest,
)
from mesh.auth.v1.audit_service_pb2_grpc import AuditServiceStub
from mesh.auth.v1.auth_service_pb2 import CreateApiKeyRequest, GetApiKeyRequest, RevokeApiKeyRequest
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from meshkit.audit import AuthSink, Decision, Recorder
from meshkit.settings import AuditSettings
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served, serving_all
from tests.integration.auth.ledger import TIME, Ledger, a_record
from tests.integration.auth.replicas import Replica
from tests.waiting import until


@pytest.fixture
def recorder(auth: Replica) -> Recorder:
    return Recorder(auth.audit_log, service="auth", settings=AuditSettings(flush_interval=0.01))


@pytest.fixture
async def audited(auth: Replica, recorder: Recorder) -> AsyncIterator[Served]:
    """Serve auth as its process does, with all its decisions on record."""
    async with serving_all(
        auth.add_to, auth.verifier, beside=auth.background(), recorder=recorder
    ) as served:
        yield served


async def reader(auth: Replica, served: Served, tenant: str = "acme") -> AuditServiceStub:
    return AuditServiceStub(served.channel(await auth.key("admin", tenant=tenant)))


async def found(stub: AuditServiceStub, wanted: str = "", size: int = 0) -> list[AuditRecord]:
    request = ListAuditRecordsRequest(filter=wanted, page_size=size)
    return list((await stub.ListAuditRecords(request)).audit_records)


async def agentmesh(served: Served, key: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return how it exited, what it printed and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "agentmesh.cli", "audit", *arguments),
        env={
            **os.environ,
            "AGENTMESH_URL": f"http://{served.address}",
            "AGENTMESH_API_KEY": key,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await process.communicate()
    return process.returncode or 0, printed.decode(), complained.decode()


async def test_what_is_done_with_a_key_is_read_in_the_log(
    auth: Replica, audited: Served, recorder: Recorder
) -> None:
    admin = AuthServiceStub(audited.channel(await auth.key("admin")))
    viewer = AuthServiceStub(audited.channel(await auth.key("viewer")))
    wanted = ApiKey(display_name="a key", roles=["viewer"])
    made = (await admin.CreateApiKey(CreateApiKeyRequest(api_key=wanted))).api_key
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await viewer.RevokeApiKey(RevokeApiKeyRequest(api_key_id=made.id))
    await admin.RevokeApiKey(RevokeApiKeyRequest(api_key_id=made.id))
    await admin.GetApiKey(GetApiKeyRequest(api_key_id=made.id))

    stub = await reader(auth, audited)
    await until(lambda: recorder.held == 0)
    records = await found(stub, f"resource = {made.id}")
    assert [(each.method.rpartition("/")[2], each.decision, each.reason) for each in records] == [
        ("RevokeApiKey", AuditRecord.DECISION_ALLOWED, "held key:revoke"),
        ("RevokeApiKey", AuditRecord.DECISION_DENIED, "lacked key:revoke"),
        ("CreateApiKey", AuditRecord.DECISION_ALLOWED, "held key:create"),
    ]
    assert {(each.service, each.tenant) for each in records} == {("auth", "acme")}
    assert all(each.request_id and each.address for each in records)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("", [4, 3, 2, 1]),
        ("decision = DENIED", [4, 2]),
        ('subject = "user:2"', [2]),
        ("actor:*", [3]),
        ('actor = "service:task*"', [3]),
        ('method = "/a*" AND -decision = DENIED', [3, 1]),
        ("resource = r-4", [4]),
        ("service = task", [1]),
        ("request_id = q-2", [2]),
        ("time > 2026-01-31T09:02:00Z AND time < 2026-01-31T09:04:00Z", [3]),
    ],
)
async def test_records_are_filtered_the_latest_first(
    auth: Replica, audited: Served, wanted: str, kept: list[int]
) -> None:
    await auth.audit_log.store(
        [
            a_record(
                subject=f"user:{n}",
                actor="service:task" if n == 3 else "",
                method=f"/a/{n}",
                resource=f"r-{n}",
                decision=(Decision.ALLOWED, Decision.DENIED)[n % 2 == 0],
                service="task" if n == 1 else "auth",
                request_id=f"q-{n}",
                time=TIME + timedelta(minutes=n),
            )
            for n in range(1, 5)
        ]
    )
    stub = await reader(auth, audited)
    assert [each.sequence for each in await found(stub, wanted)] == kept


async def test_records_are_paged_and_each_tenants_own(auth: Replica, audited: Served) -> None:
    await auth.audit_log.store([a_record() for _ in range(5)])
    await auth.audit_log.store([a_record("umbrella")])
    stub, stranger = await reader(auth, audited), await reader(auth, audited, "umbrella")
    first = await stub.ListAuditRecords(ListAuditRecordsRequest(page_size=3))
    token = first.next_page_token
    rest = await stub.ListAuditRecords(ListAuditRecordsRequest(page_size=3, page_token=token))
    listed = [each.sequence for page in (first, rest) for each in page.audit_records]
    assert (listed, rest.next_page_token) == ([5, 4, 3, 2, 1], "")
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await stranger.ListAuditRecords(ListAuditRecordsRequest(page_token=token))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", "filter"):
        await found(stub, "secret = x")

    await auth.checkpoints.sign_heads()
    assert [each.tenant for each in await found(stranger)] == ["umbrella"]
    exported = [each async for each in stranger.ExportAuditRecords(ExportAuditRecordsRequest())]
    assert {each.tenant for each in exported} == {"umbrella"}
    page = await stranger.ListAuditCheckpoints(ListAuditCheckpointsRequest())
    assert {each.tenant for each in page.audit_checkpoints} == {"umbrella"}


async def test_a_service_sends_its_records_and_speaks_for_itself_alone(
    auth: Replica, audited: Served
) -> None:
    key = await auth.key("service", tenant="mesh", subject="service:task")
    sender = Recorder(AuthSink(audited.channel(key)), service="registry")
    sender.start()
    record = a_record(service="registry", resource="t-1")
    for _ in range(2):
        sender.reserve()
        sender.record(record)
    await sender.stop()
    assert sender.held == 0
    (stored,) = await found(await reader(auth, audited))
    assert (stored.id, stored.service, stored.resource) == (str(record.id), "task", "t-1")
    assert stored.time.ToDatetime(UTC) == record.time


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        ({"time": None}, "records[1].time"),
        ({"decision": 0}, "records[1].decision"),
        ({"decision": 9}, "records[1].decision"),
        ({"id": "x"}, "records[1].id"),
        ({"resource": "x" * 257}, "records[1].resource"),
    ],
)
async def test_a_record_that_says_too_little_or_too_much_is_refused(
    auth: Replica, audited: Served, spoilt: dict[str, Any], field: str
) -> None:
    stub = AuditServiceStub(audited.channel(await auth.key("service", tenant="mesh")))
    good: dict[str, Any] = {
        "id": str(a_record().id),
        "time": datetime.now(UTC),
        "decision": 1,
        "tenant": "acme",
    }
    request = RecordAuditRequest(records=[AuditRecord(**good), AuditRecord(**{**good, **spoilt})])
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await stub.RecordAudit(request)
    assert await found(await reader(auth, audited)) == []


async def test_only_services_write_and_only_who_may_reads(auth: Replica, audited: Served) -> None:
    admin = await reader(auth, audited)
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await admin.RecordAudit(RecordAuditRequest(records=[AuditRecord(id=str(a_record().id))]))
    viewer = AuditServiceStub(audited.channel(await auth.key("viewer")))
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await found(viewer)
    with pytest.raises(aio.AioRpcError, match="audit:read"):
        _ = [each async for each in viewer.ExportAuditRecords(ExportAuditRecordsRequest())]


async def test_the_command_proves_the_log_and_finds_what_was_changed(
    auth: Replica, audited: Served, tmp_path: Path
) -> None:
    key = await auth.key("admin")
    await auth.audit_log.store([a_record(resource=f"[r]-{n}") for n in range(4)])
    await auth.checkpoints.sign_heads()

    code, exported, _ = await agentmesh(audited, key, "export")
    assert code == 0
    lines = [json.loads(line) for line in exported.splitlines()]
    assert [line["sequence"] for line in lines[:4]] == ["1", "2", "3", "4"]
    stored = await found(await reader(auth, audited), "resource = '[r]-2'")
    assert lines[2] == MessageToDict(stored[0], always_print_fields_with_no_presence=True)

    code, listed, _ = await agentmesh(
        audited, key, "list", "--filter", "method:*", "--limit", "1000"
    )
    assert (code, "[r]-3" in listed) == (0, True)

    file = tmp_path / "export.jsonl"
    file.write_text(exported)
    for arguments in ((), ("--file", str(file))):
        code, printed, complained = await agentmesh(audited, key, "verify", *arguments)
        assert (code, complained) == (0, "")
        assert "of tenant acme" in printed
        assert "the first 4 records" in printed

    file.write_text(exported.replace("user:1", "user:2", 1))
    assert (
        "broken at record 1:" in (await agentmesh(audited, key, "verify", "--file", str(file)))[2]
    )
    file.write_text("".join(exported.splitlines(keepends=True)[1:]))
    code, _, complained = await agentmesh(audited, key, "verify", "--file", str(file))
    assert (code, "record 2 stands where 1 should" in complained) == (1, True)
    file.write_text("nonsense\n")
    code, _, complained = await agentmesh(audited, key, "verify", "--file", str(file))
    assert (code, "line 1 of" in complained, "Traceback" in complained) == (1, True, False)

    await Ledger(auth.database).tamper("UPDATE audit_records SET reason = 'x' WHERE sequence = 3")
    code, _, complained = await agentmesh(audited, key, "verify")
    assert (code, "broken at record 3:" in complained) == (1, True)


async def test_the_command_says_what_to_do_if_it_may_not(auth: Replica, audited: Served) -> None:
    code, _, complained = await agentmesh(audited, await auth.key("viewer"), "verify")
    assert code == 1
    assert "audit:read" in complained
    assert "Traceback" not in complained
