"""`agentmesh key`: make, list, replace and revoke API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from agentmesh.cli.calling import mesh, run
from agentmesh.cli.console import out, print_table
from mesh.auth.v1 import api_key_pb2, auth_service_pb2, rate_limit_pb2
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub

key = typer.Typer(name="key", help="Make, list and revoke API keys.", no_args_is_help=True)


@key.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    role: Annotated[list[str], typer.Option(help="A role of the key; may be repeated.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="Confine it to this permission; may be repeated.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Calls a second; those of its roles if unset.")
    ] = None,
    burst: Annotated[
        int, typer.Option(min=0, help="Most calls at once; 0: those of a second.")
    ] = 0,
    days: Annotated[float | None, typer.Option(min=0, help="Expires after so many days.")] = None,
) -> None:
    """Make a key and print it; it can't be shown again."""
    wanted = api_key_pb2.ApiKey(display_name=name, roles=role, scopes=scope or [])
    if rate is not None:
        wanted.rate_limit.CopyFrom(rate_limit_pb2.RateLimit(per_second=rate, burst=burst))
    if days is not None:
        wanted.expire_time.GetCurrentTime()
        wanted.expire_time.FromDatetime(wanted.expire_time.ToDatetime() + timedelta(days=days))
    made = run(_create(wanted))
    out.print(f"id      {made.api_key.id}", markup=False)
    out.print(f"secret  {made.secret}", markup=False)


@key.command("list")
def list_keys(
    query: Annotated[str, typer.Option(help="Only those whose name contains this.")] = "",
) -> None:
    """List the keys, the newest first; never their secrets."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "roles", "scopes", "limit", "state", "used", "last used"):
        table.add_column(heading, overflow="fold")
    for each in run(_list(query)):
        table.add_row(*_row(each))
    print_table(table)


@key.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """End a key for good, everywhere at once."""
    revoked = run(_revoke(key_id))
    out.print(f"{revoked.display_name}: revoked", markup=False)


@key.command("reroll")
def reroll(
    key_id: Annotated[str, typer.Argument(help="Id of the key to replace.")],
    grace_hours: Annotated[
        float, typer.Option(min=0, max=168, help="The old one goes on working for so long.")
    ] = 0.0,
) -> None:
    """Make a key like another, which then ends; print the new one, this once."""
    made = run(_reroll(key_id, grace_hours))
    out.print(f"id      {made.api_key.id}", markup=False)
    out.print(f"secret  {made.secret}", markup=False)


async def _create(wanted: api_key_pb2.ApiKey) -> auth_service_pb2.CreateApiKeyResponse:
    async with mesh() as (channel, caller):
        request = auth_service_pb2.CreateApiKeyRequest(api_key=wanted)
        # Not repeated: a lost answer is better than a key that nobody knows of.
        made: auth_service_pb2.CreateApiKeyResponse = await caller.call(
            AuthServiceStub(channel).CreateApiKey, request, attempts=1
        )
        return made


async def _list(query: str) -> list[api_key_pb2.ApiKey]:
    keys: list[api_key_pb2.ApiKey] = []
    async with mesh() as (channel, caller):
        token = ""
        while True:
            request = auth_service_pb2.ListApiKeysRequest(
                page_size=1000, page_token=token, query=query
            )
            page = await caller.call(AuthServiceStub(channel).ListApiKeys, request)
            keys += page.api_keys
            token = page.next_page_token
            if not token:
                return keys


async def _revoke(key_id: str) -> api_key_pb2.ApiKey:
    async with mesh() as (channel, caller):
        request = auth_service_pb2.RevokeApiKeyRequest(api_key_id=key_id)
        revoked: api_key_pb2.ApiKey = await caller.call(
            AuthServiceStub(channel).RevokeApiKey, request
        )
        return revoked


async def _reroll(key_id: str, hours: float) -> auth_service_pb2.CreateApiKeyResponse:
    async with mesh() as (channel, caller):
        request = auth_service_pb2.RerollApiKeyRequest(api_key_id=key_id)
        request.grace.FromTimedelta(timedelta(hours=hours))
        made: auth_service_pb2.CreateApiKeyResponse = await caller.call(
            AuthServiceStub(channel).RerollApiKey, request, attempts=1
        )
        return made


def _row(each: api_key_pb2.ApiKey) -> tuple[str, ...]:
    limit = each.rate_limit
    return (
        each.id,
        each.display_name.replace("[", r"\["),
        " ".join(each.roles),
        " ".join(each.scopes) or "-",
        f"{limit.per_second:g}/s" if each.HasField("rate_limit") else "-",
        "revoked" if each.HasField("revoke_time") else "works",
        str(each.use_count),
        each.last_used_time.ToJsonString() if each.HasField("last_used_time") else "-",
    )
