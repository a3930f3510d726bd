"""Limits of single subjects, in place of those of their roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from grpc import StatusCode
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.auth.v1 import api_key_pb2, auth_service_pb2, rate_limit_pb2, rate_limit_service_pb2
from mesh.auth.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from meshkit.limits.rate import RateLimit
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from services.auth.usecases.limits import override_of
from tests.integration.auth.conftest import As
from tests.integration.auth.replicas import Replica


async def stub(auth: Replica, served: Served, role: str, tenant: str) -> RateLimitServiceStub:
    return RateLimitServiceStub(served.channel(await auth.key(role, tenant=tenant)))


@pytest.fixture
async def limits(auth: Replica, served: Served) -> RateLimitServiceStub:
    """Call as an administrator of acme."""
    return await stub(auth, served, "admin", "acme")


NewSubject = Callable[[], Awaitable[str]]


@pytest.fixture
def new_subject(as_role: As) -> NewSubject:
    """Make a key of acme; return its subject."""

    async def make() -> str:
        wanted = api_key_pb2.ApiKey(display_name="limited", roles=["viewer"])
        auth = await as_role("admin")
        created = await auth.CreateApiKey(auth_service_pb2.CreateApiKeyRequest(api_key=wanted))
        return created.api_key.subject

    return make


def put(
    subject: str, per_second: float = 5, burst: int = 10
) -> rate_limit_service_pb2.PutRateLimitOverrideRequest:
    limit = rate_limit_pb2.RateLimit(per_second=per_second, burst=burst)
    return rate_limit_service_pb2.PutRateLimitOverrideRequest(
        rate_limit_override=rate_limit_pb2.RateLimitOverride(subject=subject, rate_limit=limit)
    )


def delete(subject: str) -> rate_limit_service_pb2.DeleteRateLimitOverrideRequest:
    return rate_limit_service_pb2.DeleteRateLimitOverrideRequest(subject=subject)


async def listed(limits: RateLimitServiceStub, page_size: int = 0) -> list[str]:
    """Return the subjects of all pages."""
    found, token = list[str](), ""
    while True:
        page = await limits.ListRateLimitOverrides(
            rate_limit_service_pb2.ListRateLimitOverridesRequest(
                page_size=page_size, page_token=token
            )
        )
        assert len(page.rate_limit_overrides) <= (page_size or 50)
        found += [each.subject for each in page.rate_limit_overrides]
        token = page.next_page_token
        if not token:
            return found


async def override_found(auth: Replica, subject: str, tenant: str = "acme") -> RateLimit | None:
    return await auth.database.read(lambda tx: override_of(tx, tenant, subject))


async def told_of(auth: Replica) -> list[str]:
    """Return whose change verifiers were told of."""

    async def work(connection: AsyncConnection) -> list[str]:
        told = "SELECT credential FROM revocations ORDER BY id"
        return list((await connection.execute(text(told))).scalars())

    return await auth.database.read(work)


async def test_an_override_counts_until_it_is_deleted(
    auth: Replica, limits: RateLimitServiceStub, new_subject: NewSubject
) -> None:
    subject = await new_subject()
    answered = await limits.PutRateLimitOverride(put(subject))
    assert answered == put(subject).rate_limit_override
    assert await override_found(auth, subject) == RateLimit(5, 10)

    answered = await limits.PutRateLimitOverride(put(subject, per_second=7.5, burst=0))
    assert answered.rate_limit.burst == 7
    assert await override_found(auth, subject) == RateLimit(7.5, 7)
    assert await listed(limits) == [subject]

    await limits.DeleteRateLimitOverride(delete(subject))
    assert await override_found(auth, subject) is None
    assert await listed(limits) == []


async def test_verifiers_are_told_of_every_change(
    auth: Replica, limits: RateLimitServiceStub, new_subject: NewSubject
) -> None:
    subject = await new_subject()
    await limits.PutRateLimitOverride(put(subject))
    assert await told_of(auth) == [subject]
    await limits.DeleteRateLimitOverride(delete(subject))
    assert await told_of(auth) == [subject, subject]
    await limits.DeleteRateLimitOverride(delete(subject))
    assert await told_of(auth) == [subject, subject]


async def test_overrides_are_listed_by_subject_page_by_page(
    limits: RateLimitServiceStub, new_subject: NewSubject
) -> None:
    subjects = [await new_subject() for _ in range(5)]
    for subject in reversed(subjects):
        await limits.PutRateLimitOverride(put(subject))
    assert await listed(limits, page_size=2) == sorted(subjects)


async def test_a_tenant_sees_and_changes_only_its_own(
    auth: Replica, served: Served, limits: RateLimitServiceStub, new_subject: NewSubject
) -> None:
    subject = await new_subject()
    await limits.PutRateLimitOverride(put(subject))
    strangers = await stub(auth, served, "admin", "umbrella")
    assert await listed(strangers) == []
    await strangers.DeleteRateLimitOverride(delete(subject))
    assert await override_found(auth, subject) == RateLimit(5, 10)
    assert await told_of(auth) == [subject]
    for other in (subject, "key:00000000-0000-0000-0000-000000000000", "tenant:acme", "user:x"):
        with refusal(StatusCode.NOT_FOUND, "SUBJECT_NOT_FOUND", "rate_limit_override.subject"):
            await strangers.PutRateLimitOverride(put(other))
    assert await override_found(auth, subject, tenant="umbrella") is None


async def test_who_may_not_change_limits_is_refused(
    auth: Replica, served: Served, new_subject: NewSubject
) -> None:
    operator = await stub(auth, served, "operator", "acme")
    subject = await new_subject()
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await operator.PutRateLimitOverride(put(subject))
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await operator.DeleteRateLimitOverride(delete(subject))
    assert await override_found(auth, subject) is None
