"""Who may call, and with what: turned away before the body is read, or by its bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode, aio

from meshkit.security.principal import current_or_none
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import ServeEcho
from tests.integration.meshkit.echo import SHAPES, Words, say

shapes = pytest.mark.parametrize("shape", SHAPES)


@shapes
@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ((), (StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")),
        (("authorization", "Basic eA=="), (StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")),
        (("authorization", "Bearer x.y.z"), (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")),
        (("x-api-key", "nonsense"), (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")),
        (("authorization", "lacking"), (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")),
        (("authorization", "expired"), (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")),
    ],
)
async def test_who_may_not_is_turned_away_before_the_body_is_read(
    serve_echo: ServeEcho,
    tokens: TokenFactory,
    shape: str,
    header: tuple[str, ...],
    refused: tuple[StatusCode, str],
) -> None:
    named = {
        "lacking": f"Bearer {tokens.sign('echo:listen', 'mesh:*')}",
        "expired": f"Bearer {tokens.sign('echo:say', lifetime=timedelta(-1))}",
    }
    metadata = ((header[0], named.get(header[1], header[1])),) if header else ()
    served = await serve_echo()
    with refusal(*refused):
        await say(served.channel(), shape, b"\xff not a message", metadata=metadata)


async def test_a_public_method_asks_for_nothing_and_knows_nobody(
    serve_echo: ServeEcho, token: str
) -> None:
    async def act(_text: str) -> None:
        assert current_or_none() is None

    served = await serve_echo(act)
    for each in (None, token, "nonsense"):
        assert await say(served.channel(), "public", "x", token=each)


@shapes
async def test_an_unmapped_method_is_closed_even_to_who_may_all(
    serve_echo: ServeEcho, tokens: TokenFactory, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.server.rules_of", lambda _services: {})
    served = await serve_echo()
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await say(served.channel(), shape, "x", token=tokens.sign("*", "mesh:*"))
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"):
        await say(served.channel(), shape, "x")


@shapes
async def test_only_who_may_delegate_acts_for_others(
    serve_echo: ServeEcho, tokens: TokenFactory, shape: str
) -> None:
    async def act(_text: str) -> None:
        principal = current_or_none()
        assert principal
        seen.append((principal.subject, principal.tenant, principal.actor))

    seen: list[tuple[str, str, str | None]] = []
    served = await serve_echo(act)
    named = (("x-agentmesh-subject", "key:9"), ("x-agentmesh-tenant", "acme"))
    service = tokens.sign("echo:say", "mesh:delegate", tenant="mesh", subject="service:task")
    await say(served.channel(), shape, "x", metadata=named, token=service)
    await say(served.channel(), shape, "x", token=service)
    assert seen == [("key:9", "acme", "service:task"), ("service:task", "mesh", None)]

    admin = tokens.sign("*", tenant="umbrella")
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await say(served.channel(), shape, "x", metadata=named, token=admin)
    assert len(seen) == 2


@shapes
@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (Words(text="x" * 17), ["text"]),
        (Words(list=["a", "b", "x" * 5]), ["list[2]"]),
        (Words(map={"a": "b", 'c"ä': "x" * 5}), ['map["c\\"\\u00e4"]']),
        (Words(inner=[Words(), Words(list=["x" * 5])]), ["inner[1].list[0]"]),
        (Words(text="x" * 17, list=["x" * 5]), ["text", "list[0]"]),
        (b"\xff", []),
        (b"\x0a\x01\xff", []),
    ],
    ids=["field", "repeated", "map", "nested", "two", "malformed", "not UTF-8"],
)
async def test_each_message_is_held_against_its_bounds(
    serve_echo: ServeEcho, token: str, shape: str, sent: Any, fields: list[str]
) -> None:
    async def act(text: str) -> None:
        heard.append(text)

    heard: list[str] = []
    served = await serve_echo(act)
    before = ["good"] if shape.startswith("stream") else []
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", *fields):
        await say(served.channel(), shape, *before, sent, token=token)
    assert heard == before


@shapes
async def test_a_message_that_is_too_large_is_refused(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    served = await serve_echo(max_request_bytes=1000)
    sent = Words(list=["abcd"] * 300)
    with refusal(StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        await say(served.channel(), shape, sent, token=token)
    with pytest.raises(aio.AioRpcError) as refused:
        await say(served.channel(), shape, Words(list=["abcd"] * 3000), token=token)
    assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
