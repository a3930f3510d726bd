"""`agentmesh audit`: read the audit log, take it away, and verify it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Self, TypeVar

import typer
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from rich.table import Table

from agentmesh.audit import ChainBroken, Checkpoints, Proof, Verifier
from agentmesh.cli.calling import run
from agentmesh.cli.console import err, out, print_table
from agentmesh.client.caller import Caller
from agentmesh.connection import Connection
from agentmesh.stack.errors import StackError
from mesh.auth.v1 import (
    audit_pb2,
    audit_service_pb2,
    audit_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
)

audit = typer.Typer(
    name="audit",
    help="Read, export and verify the audit log of your tenant.",
    no_args_is_help=True,
)

Result = TypeVar("Result")

_MOST_AT_ONCE = 1000


@audit.command("list")
def list_records(
    filter: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option(help='Only those of which this is true: decision = DENIED AND subject = "…".'),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """List what was decided, the latest first."""
    records = run(_latest(filter, limit))
    if as_json:
        for record in records:
            _write(record)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("#", "time", "decision", "subject", "method", "resource", "reason"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("#", "decision", "method"))
    for record in records:
        table.add_row(*_row(record))
    print_table(table)


@audit.command("export")
def export(
    after: Annotated[int, typer.Option(min=0, help="Begin after the record of this place.")] = 0,
) -> None:
    """Print all records in their order, a JSON object a line."""
    run(_export(after))


@audit.command("verify")
def verify(
    file: Annotated[
        Path | None,
        typer.Option(
            help="Verify an export instead of what the mesh has now; `-` for standard input.",
            allow_dash=True,
            dir_okay=False,
            exists=True,
        ),
    ] = None,
) -> None:
    """Prove that no record was changed, removed or put in; exit with 1 if one was.

    Computes every hash anew and checks each checkpoint of the mesh by its published keys.
    """
    try:
        proof = run(_verified(file))
    except ChainBroken as broken:
        err.print(f"The audit log is broken at record {broken.sequence}: {broken}.", markup=False)
        err.print("Whatever comes from this record on can't be trusted.")
        raise typer.Exit(1) from broken
    _show(proof)


async def _latest(wanted: str, limit: int) -> list[audit_pb2.AuditRecord]:
    records: list[audit_pb2.AuditRecord] = []
    async with _Mesh() as mesh:
        token = ""
        while len(records) < limit:
            size = min(limit - len(records), _MOST_AT_ONCE)
            request = audit_service_pb2.ListAuditRecordsRequest(
                page_size=size, page_token=token, filter=wanted
            )
            page = await mesh.caller.call(mesh.log.ListAuditRecords, request)
            records += page.audit_records
            token = page.next_page_token
            if not token:
                break
    return records


async def _export(after: int) -> None:
    async with _Mesh() as mesh:
        async for record in mesh.export(after):
            _write(record)


async def _verified(file: Path | None) -> Proof:
    async with _Mesh() as mesh:
        # Before the records: each checkpoint is then of one of them.
        verifier = Verifier(await mesh.checkpoints())
        if file is not None:
            for record in _records_in(file):
                verifier.add(record)
            return verifier.proof(whole=False)
        async for record in mesh.export(0):
            verifier.add(record)
        return verifier.proof(whole=True)


class _Mesh:
    """The mesh's audit log, as long as it is open."""

    async def __aenter__(self) -> Self:
        connection = Connection.resolve()
        self._channel = connection.channel()
        self.caller = Caller(self._channel, connection.metadata)
        self.log = audit_service_pb2_grpc.AuditServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def checkpoints(self) -> Checkpoints:
        auth = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        keys = await self.caller.call(auth.GetJwks, auth_service_pb2.GetJwksRequest())
        checkpoints, token = Checkpoints(keys), ""
        while True:
            request = audit_service_pb2.ListAuditCheckpointsRequest(
                page_size=_MOST_AT_ONCE, page_token=token
            )
            page = await self.caller.call(self.log.ListAuditCheckpoints, request)
            for each in page.audit_checkpoints:
                checkpoints.add(each)
            token = page.next_page_token
            if not token:
                return checkpoints

    async def export(self, after: int) -> AsyncIterator[audit_pb2.AuditRecord]:
        request = audit_service_pb2.ExportAuditRecordsRequest(after_sequence=after)
        async for record in self.caller.stream(self.log.ExportAuditRecords, request):
            yield record


def _records_in(file: Path) -> Iterator[audit_pb2.AuditRecord]:
    with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield Parse(line, audit_pb2.AuditRecord())
            except ParseError as error:
                raise StackError(
                    f"line {number} of {file} is no audit record: {error}",
                    "give a file that `agentmesh audit export` wrote, whole and unchanged",
                ) from error


def _show(proof: Proof) -> None:
    if not proof.records:
        out.print("There are no records: nothing to verify.")
        return
    out.print(
        f"Verified {proof.records} records of tenant {proof.tenant}, from the first on, without a"
        f" gap.\nLast hash: {proof.last_hash}",
        markup=False,
    )
    if proof.signed_records:
        out.print(
            f"{proof.checkpoints} signed checkpoints agree; the last vouches for the first"
            f" {proof.signed_records} records."
        )
    else:
        out.print("No checkpoint vouches for them yet; one is signed about once a minute.")
    if proof.keys_gone:
        out.print(
            f"{proof.keys_gone} checkpoints agree, too, but their keys are not published any more."
        )


def _row(record: audit_pb2.AuditRecord) -> tuple[str, ...]:
    denied = record.decision == audit_pb2.AuditRecord.DECISION_DENIED
    return (
        str(record.sequence),
        f"{record.time.ToDatetime():%Y-%m-%d %H:%M:%S}",
        "[red]DENIED[/]" if denied else "ALLOWED",
        *(
            text.replace("[", r"\[")
            for text in (
                record.subject or "-",
                record.method.rpartition("/")[2],
                record.resource or "-",
                record.reason,
            )
        ),
    )


def _write(record: audit_pb2.AuditRecord) -> None:
    text = MessageToJson(record, indent=None, always_print_fields_with_no_presence=True)
    sys.stdout.write(text + "\n")
