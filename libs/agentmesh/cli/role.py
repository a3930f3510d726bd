"""`agentmesh role`: make, list and delete roles, give them, and explain what they allow."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from agentmesh.cli.calling import mesh, run
from agentmesh.cli.console import out, print_table
from mesh.auth.v1 import rate_limit_pb2, role_pb2, role_service_pb2
from mesh.auth.v1.role_service_pb2_grpc import RoleServiceStub

role = typer.Typer(name="role", help="Say what callers may do.", no_args_is_help=True)


Name = Annotated[str, typer.Argument(help="Name of the role.")]
Subject = Annotated[str, typer.Argument(help="Who: user:<id> or key:<id>.")]


@role.command("create")
def create(
    name: Name,
    permission: Annotated[
        list[str] | None, typer.Option(help="What it allows, noun:verb; may be repeated.")
    ] = None,
    inherits: Annotated[
        list[str] | None, typer.Option(help="A role that it inherits; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Calls a second of whoever has it.")
    ] = None,
) -> None:
    """Make a role of your tenant."""
    wanted = role_pb2.Role(
        name=name,
        permissions=permission or [],
        inherits=inherits or [],
        description=description,
        rate_limit=rate_limit_pb2.RateLimit(per_second=rate) if rate else None,
    )
    run(_create(wanted))
    out.print(f"made the role {name}", markup=False)


@role.command("list")
def list_roles() -> None:
    """List the roles, the built-in ones first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "inherits", "permissions", "limit", "description"):
        table.add_column(heading, overflow="fold")
    for each in run(_list()):
        table.add_row(
            each.name,
            " ".join(each.inherits) or "-",
            " ".join(each.permissions) or "-",
            f"{each.rate_limit.per_second:g}/s" if each.HasField("rate_limit") else "-",
            each.description.replace("[", r"\["),
        )
    print_table(table)


@role.command("delete")
def delete(name: Name) -> None:
    """Delete a role that nobody has."""
    run(_delete(name))
    out.print(f"deleted the role {name}", markup=False)


@role.command("bind")
def bind(name: Name, subject: Subject) -> None:
    """Give a role to a user or a key."""
    bound = run(_bind(name, subject))
    out.print(f"{subject} has the role {name}: binding {bound.id}", markup=False)


@role.command("explain")
def explain(
    subject: Subject,
    permission: Annotated[str, typer.Argument(help="What it is to be allowed, noun:verb.")],
) -> None:
    """Tell by which roles somebody may do something, or why not; exit with 1 if not."""
    why = run(_explain(subject, permission))
    out.print(why.explanation, markup=False)
    for grant in why.grants:
        out.print(f"  {' > '.join(grant.roles)}: {grant.held}", markup=False)
    if why.would_allow:
        out.print(f"Roles that would allow it: {', '.join(why.would_allow)}", markup=False)
    raise typer.Exit(0 if why.allowed else 1)


async def _create(wanted: role_pb2.Role) -> None:
    async with mesh() as (channel, caller):
        request = role_service_pb2.CreateRoleRequest(role=wanted)
        await caller.call(RoleServiceStub(channel).CreateRole, request)


async def _list() -> list[role_pb2.Role]:
    async with mesh() as (channel, caller):
        request = role_service_pb2.ListRolesRequest()
        return list((await caller.call(RoleServiceStub(channel).ListRoles, request)).roles)


async def _delete(name: str) -> None:
    async with mesh() as (channel, caller):
        request = role_service_pb2.DeleteRoleRequest(name=name)
        await caller.call(RoleServiceStub(channel).DeleteRole, request)


async def _bind(name: str, subject: str) -> role_pb2.RoleBinding:
    async with mesh() as (channel, caller):
        request = role_service_pb2.CreateRoleBindingRequest(
            role_binding=role_pb2.RoleBinding(role=name, subject=subject)
        )
        bound: role_pb2.RoleBinding = await caller.call(
            RoleServiceStub(channel).CreateRoleBinding, request
        )
        return bound


async def _explain(subject: str, permission: str) -> role_service_pb2.ExplainPermissionResponse:
    async with mesh() as (channel, caller):
        request = role_service_pb2.ExplainPermissionRequest(subject=subject, permission=permission)
        why: role_service_pb2.ExplainPermissionResponse = await caller.call(
            RoleServiceStub(channel).ExplainPermission, request
        )
        return why
