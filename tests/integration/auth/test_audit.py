"""The chain of the audit log, and who vouches for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.audit import Proof, record_hash
from meshkit.database.engine import Database
from services.auth.convert.audit import link_to_proto
from services.auth.domain.audit import GENESIS, Head, digest, linked
from services.auth.usecases import audit
from services.auth.usecases.audit import AuditLog
from tests.integration.auth.ledger import Ledger, a_record


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


async def test_records_form_a_chain_that_anybody_can_verify(ledger: Ledger) -> None:
    records = [a_record(resource=f'"{n}" \\ \x01 é\u2028') for n in range(7)]
    await ledger.store(*records[:3])
    await ledger.store(*records[3:])
    links = await ledger.chain()
    assert [link.record for link in links] == records
    assert [link.sequence for link in links] == list(range(1, 8))
    assert await ledger.proof() == Proof("acme", 7, links[-1].hash, 0, 0, 0)
    await ledger.sign()
    await ledger.store(a_record())
    assert (await ledger.proof()).signed_records == 7


async def test_the_hash_is_the_one_that_the_contract_spells_out() -> None:
    record = a_record(id="01890000-0000-7000-8000-000000000000", resource='a"é')
    assert digest(record, 1, GENESIS) == (
        # printf '%s' '{"actor":…}' | sha256sum
        "945115b8e30d99af3e00cc72d4fdc225f17c2164749558fd5fb2948ca2eed118"
    )


async def test_what_comes_twice_is_stored_once(ledger: Ledger) -> None:
    first, second, third = (a_record() for _ in range(3))
    await ledger.store(first, first, second)
    await ledger.store(second, third, first)
    assert [link.record for link in await ledger.chain()] == [first, second, third]


async def test_tenants_have_chains_of_their_own(ledger: Ledger) -> None:
    mine, theirs, nobodys = a_record(), a_record("umbrella"), a_record("")
    await ledger.store(theirs, mine, nobodys)
    for tenant, record in (("acme", mine), ("umbrella", theirs), ("", nobodys)):
        (link,) = await ledger.chain(tenant)
        assert (link.record, link.sequence) == (record, 1)


async def test_replicas_append_at_once_to_one_chain_without_a_gap(ledger: Ledger) -> None:
    other = AuditLog(ledger.database)
    batches = [[a_record() for _ in range(5)] for _ in range(20)]
    twice = [(each, batch) for batch in batches for each in (ledger.log, other)]
    await asyncio.gather(*(each.store(batch) for each, batch in twice))
    assert (await ledger.proof()).records == 100


async def test_an_export_is_read_page_by_page(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_EXPORT_PAGE", 3)
    await ledger.store(*(a_record() for _ in range(9)))
    assert [link.sequence for link in await ledger.chain()] == list(range(1, 10))
    assert [link.sequence async for link in ledger.log.export("acme", 7)] == [8, 9]
    assert [link async for link in ledger.log.export("acme", 9)] == []


async def test_chains_that_have_grown_are_signed_once_in_a_while_by_one_replica(
    ledger: Ledger,
) -> None:
    minute = timedelta(minutes=1)
    other = audit.Checkpoints(ledger.database, ledger.keys.sign, interval=60)
    await ledger.store(a_record(), a_record("umbrella"))
    await asyncio.gather(*(each.sign_heads(minute) for each in (ledger.checkpoints, other) * 3))
    assert len(await ledger.signed()) == 1
    await ledger.store(a_record())
    await other.sign_heads(minute)
    assert len(await ledger.signed()) == 1
    await ledger.tamper("UPDATE audit_chains SET sign_time = sign_time - interval '1 minute'")
    await asyncio.gather(*(each.sign_heads(minute) for each in (ledger.checkpoints, other) * 3))
    assert len(await ledger.signed()) == 2
    await ledger.sign()
    assert len(await ledger.signed()) == 2


async def test_another_key_signs_each_chain_anew(ledger: Ledger) -> None:
    await ledger.store(a_record())
    await ledger.sign()
    retired = ledger.keys.current
    ledger.keys.rotate()
    await ledger.sign()
    del ledger.keys.pairs[retired]
    await ledger.store(a_record())
    assert (await ledger.proof()).signed_records == 1


async def test_the_last_records_are_signed_on_a_clean_stop(ledger: Ledger) -> None:
    running = asyncio.create_task(ledger.checkpoints.run())
    await asyncio.sleep(0)
    await ledger.store(a_record())
    running.cancel()
    await asyncio.wait([running])
    assert (await ledger.proof()).signed_records == 1


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
TIMES = st.datetimes(timezones=st.just(UTC))


@given(texts=st.lists(TEXT, min_size=9, max_size=9), time=TIMES, sequence=st.integers(1, 2**53))
def test_the_verifier_comes_to_the_same_hash_by_itself(
    texts: list[str], time: datetime, sequence: int
) -> None:
    names = ("subject", "actor", "method", "resource", "reason", "request_id", "address")
    record = a_record(texts[0], time=time, **dict(zip(names, texts[1:], strict=False)))
    (link,) = linked(Head(sequence - 1, "ab" * 32), [record])
    assert record_hash(link_to_proto(link), "ab" * 32) == link.hash
    assert record_hash(link_to_proto(link), GENESIS) != link.hash
    other = replace(record, time=record.time.replace(microsecond=(time.microsecond + 1) % 10**6))
    assert digest(other, sequence, "ab" * 32) != link.hash
