"""Which decisions are put on record, and what the records say."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from grpc import StatusCode, aio

from meshkit.audit import Decision, Recorder, note
from meshkit.errors import NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from meshkit.settings import AuditSettings
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import serving
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.audited import (
    SERVICE,
    Ask,
    Book,
    Thing,
    Things,
    Told,
    add_things,
    ask,
    tell,
)
from tests.integration.meshkit.conftest import ServeThings
from tests.waiting import until

DELEGATED = (("x-agentmesh-subject", "user:7"), ("x-agentmesh-tenant", "acme"))


async def test_an_allowed_call_is_on_record_with_all_that_is_known(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    token = tokens.sign("thing:*", "mesh:delegate", tenant="mesh", subject="service:task")
    sent = (
        *DELEGATED,
        ("authorization", f"Bearer {token}"),
        ("x-request-id", "r-1"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.4"),
    )
    await ask(served.channel(), "Change", Ask(thing_id="t-1", request_id="x"), metadata=sent)
    (record,) = await book.entries()
    assert (record.tenant, record.subject, record.actor) == ("acme", "user:7", "service:task")
    assert (record.method, record.resource) == (f"/{SERVICE}/Change", "t-1")
    assert (record.decision, record.reason) == (Decision.ALLOWED, "held thing:change")
    assert (record.request_id, record.address) == ("r-1", "198.51.100.4")
    assert record.service == "things"


async def test_a_denied_call_names_what_was_lacking_and_what_it_was_about(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    stranger = served.channel(tokens.sign("thing:look"))
    for method in ("Change", "Watch"):
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await ask(stranger, method, Ask(thing=Thing(name="n-1")))
    await until(lambda: len(book.records) == 2)
    for record, lacked in zip(book.records, ("thing:change", "thing:watch"), strict=True):
        assert (record.decision, record.reason) == (Decision.DENIED, f"lacked {lacked}")
        assert (record.resource, record.subject, record.tenant) == ("n-1", "key:tester", "acme")
        assert record.address.startswith("ipv4:127.0.0.1:")


async def test_who_may_not_act_for_others_is_on_record(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await ask(served.channel(tokens.sign("thing:*")), "Change", metadata=DELEGATED)
    (record,) = await book.entries()
    assert (record.subject, record.reason) == ("key:tester", "lacked mesh:delegate")


async def test_the_handler_may_refuse_and_may_fail(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    problems = [
        PermissionDenied("no", reason="ROLE_NOT_HELD"),
        NotFound("none", reason="ROLE_NOT_FOUND"),
        ValueError("a bug"),
        ResourceExhausted("full", reason="QUOTA_EXCEEDED"),
    ]

    async def act(_request: Any) -> Any:
        raise problems[len(book.records)]

    served = await serve_things(act)
    channel = served.channel(tokens.sign("thing:change"))
    for count, _ in enumerate(problems, 1):
        with pytest.raises(aio.AioRpcError):
            await ask(channel, "Change")
        await until(partial(book.holds, count))
    assert [(each.decision, each.reason) for each in book.records] == [
        (Decision.DENIED, "ROLE_NOT_HELD"),
        (Decision.ALLOWED, "held thing:change; failed with ROLE_NOT_FOUND"),
        (Decision.ALLOWED, "held thing:change; failed"),
        (Decision.ALLOWED, "held thing:change; failed with QUOTA_EXCEEDED"),
    ]


async def test_a_call_that_its_caller_gives_up_is_on_record(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    entered = asyncio.Event()

    async def act(_request: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    served = await serve_things(act)
    call = asyncio.create_task(ask(served.channel(tokens.sign("thing:change")), "Change"))
    await entered.wait()
    call.cancel()
    (record,) = await book.entries()
    assert (record.decision, record.reason) == (
        Decision.ALLOWED,
        "held thing:change; broke off",
    )


async def test_nobody_fills_the_log_without_a_credential(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    for token, reason in ((None, "CREDENTIAL_MISSING"), ("nonsense", "CREDENTIAL_INVALID")):
        for method in ("Change", "Watch"):
            with refusal(StatusCode.UNAUTHENTICATED, reason):
                await ask(served.channel(token), method)
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"):
        await ask(served.channel(), "Login", b"\xff")
    await ask(served.channel(tokens.sign("thing:look")), "Look")
    await ask(served.channel(tokens.sign("thing:change")), "Change")
    assert [each.method for each in await book.entries()] == [f"/{SERVICE}/Change"]


async def test_a_sign_in_is_on_record_either_way_with_what_the_handler_notes(
    serve_things: ServeThings, book: Book
) -> None:
    async def act(request: Any) -> Any:
        if request.subject == "nobody":
            raise Unauthenticated("wrong", reason="SIGN_IN_FAILED")
        note(subject="user:1", tenant="acme")
        if request.subject == "locked":
            raise Unauthenticated("wrong", reason="SIGN_IN_LOCKED")
        return Told()

    served = await serve_things(act)
    await ask(served.channel(), "Login", Ask(subject="ada"))
    for name, reason in (("nobody", "SIGN_IN_FAILED"), ("locked", "SIGN_IN_LOCKED")):
        with refusal(StatusCode.UNAUTHENTICATED, reason):
            await ask(served.channel(), "Login", Ask(subject=name))
    await until(lambda: len(book.records) == 3)
    assert [(each.tenant, each.subject, each.reason) for each in book.records] == [
        ("acme", "user:1", "public"),
        ("", "", "SIGN_IN_FAILED"),
        ("acme", "user:1", "SIGN_IN_LOCKED"),
    ]
    assert [each.decision for each in book.records[1:]] == [Decision.DENIED] * 2


async def test_of_a_flood_that_a_limit_turns_away_the_first_is_on_record(
    serve_things: ServeThings, book: Book
) -> None:
    async def act(_request: Any) -> Any:
        raise ResourceExhausted("slower", reason="RATE_LIMITED")

    served = await serve_things(act)
    channel = served.channel()
    for _ in range(5):
        with refusal(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"):
            await ask(channel, "Login")
    (record,) = await book.entries()
    assert (record.decision, record.reason) == (Decision.DENIED, "RATE_LIMITED")


async def test_a_stream_is_on_record_once_it_is_admitted(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    goes_on = asyncio.Event()

    async def act(_request: Any) -> Any:
        await goes_on.wait()
        raise PermissionDenied("too late")

    served = await serve_things(act)
    channel = served.channel(tokens.sign("thing:watch"))
    call = asyncio.create_task(ask(channel, "Watch", Ask(thing_id="t-2")))
    (record,) = await book.entries()
    assert (record.decision, record.resource) == (Decision.ALLOWED, "t-2")
    assert record.reason == "held thing:watch"
    goes_on.set()
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await call
    assert len(book.records) == 1


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (Ask(thing_id="a", subject="user:1"), (None, None, "a user:1")),
        (Ask(thing_id="a", thing=Thing(name="b")), (None, None, "a b")),
        (Ask(thing=Thing(id="forged", maker_id="forged", secret="s")), (None, "c", "c")),
        (Ask(thing_id="a"), ("noted", "c", "noted")),
        (Ask(), (None, None, "")),
        (Ask(thing_id="x" * 70_000), (None, None, "")),
    ],
    ids=["its own fields", "its message", "what was made", "what is noted", "none", "too large"],
)
async def test_the_resource_is_what_the_call_names(
    serve_things: ServeThings,
    tokens: TokenFactory,
    book: Book,
    sent: Any,
    said: tuple[str | None, str | None, str],
) -> None:
    noted, answered, resource = said

    async def act(_request: Any) -> Any:
        note(resource=noted)
        return Told(thing=Thing(id=answered, name="n"))

    served = await serve_things(act)
    await ask(served.channel(tokens.sign("thing:change")), "Change", sent)
    (record,) = await book.entries()
    assert record.resource == resource


async def test_what_cannot_be_recorded_is_not_done(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    done: list[str] = []

    async def act(request: Any) -> Any:
        done.append(request.thing_id)
        return Told()

    book.open.clear()
    served = await serve_things(act, buffer=2)
    channel = served.channel(tokens.sign("thing:*"))
    for each in ("1", "2"):
        await ask(channel, "Change", Ask(thing_id=each))
    for method in ("Change", "Watch", "Login"):
        with refusal(StatusCode.UNAVAILABLE, "AUDIT_LOG_FULL"):
            await ask(channel, method, Ask(thing_id="3"))
    await ask(channel, "Look", Ask(thing_id="unaudited"))
    assert done == ["1", "2", "unaudited"]

    book.open.set()
    await until(lambda: len(book.records) == 2)
    await ask(channel, "Change", Ask(thing_id="4"))
    await until(lambda: [each.resource for each in book.records] == ["1", "2", "4"])


async def test_a_drain_waits_until_all_is_stored(tokens: TokenFactory, book: Book) -> None:
    recorder = Recorder(book, service="things", settings=AuditSettings(flush_interval=3600))
    async with serving(add_things, Things(tell), tokens.verifier, recorder=recorder) as served:
        channel = served.channel(tokens.sign("thing:change"))
        await asyncio.gather(*(ask(channel, "Change") for _ in range(20)))
        assert not book.records
    assert len({each.id for each in book.records}) == 20


async def test_a_denial_of_a_method_that_is_not_audited_is_recorded_once_a_minute(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    stranger = served.channel(tokens.sign("thing:change"))
    for _ in range(3):
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await ask(stranger, "Look")
    await ask(served.channel(tokens.sign("thing:look")), "Look")
    (record,) = await book.entries()
    assert (record.method, record.decision) == (f"/{SERVICE}/Look", Decision.DENIED)
    assert record.reason == "lacked thing:look"


async def test_acting_in_another_tenant_is_on_record_there_whatever_the_method(
    serve_things: ServeThings, tokens: TokenFactory, book: Book
) -> None:
    served = await serve_things()
    crossing = (("x-mesh-tenant", "umbrella"),)
    platform = served.channel(tokens.sign("thing:look", "mesh:tenants", subject="key:platform"))
    await ask(platform, "Look", metadata=crossing)
    (record,) = await book.entries()
    assert (record.tenant, record.subject) == ("umbrella", "key:platform")
    assert (record.decision, record.reason) == (Decision.ALLOWED, "held thing:look")
    confined = served.channel(tokens.sign("*"))
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await ask(confined, "Look", metadata=crossing)
    await until(lambda: len(book.records) == 2)
    denied = book.records[1]
    assert (denied.tenant, denied.reason) == ("acme", "lacked mesh:tenants")
