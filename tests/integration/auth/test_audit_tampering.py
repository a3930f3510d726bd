"""What was changed in the audit log is found, and hard to change at all."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from agentmesh.audit import ChainBroken
from meshkit.database.engine import Database
from tests.integration.auth.ledger import Ledger, a_record


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.mark.parametrize("table", ["audit_records", "audit_checkpoints"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET hash = ''", "DELETE FROM {}", "TRUNCATE {}"])
async def test_nothing_is_ever_changed_or_removed(
    ledger: Ledger, table: str, statement: str
) -> None:
    await ledger.store(a_record())
    await ledger.sign()
    with pytest.raises(DBAPIError, match="only ever appended to"):
        await ledger.database.transaction(lambda tx: tx.execute(text(statement.format(table))))
    assert len(await ledger.chain()) == 1


CHANGES = {
    "id": "gen_random_uuid()",
    "time": "time + interval '1 microsecond'",
    "decision": "'DENIED'",
    "sequence": "sequence + 100",
    **dict.fromkeys(("tenant", "subject", "actor", "method", "resource"), "{} || 'x'"),
    **dict.fromkeys(("reason", "request_id", "address", "service"), "{} || 'x'"),
    "hash": "repeat('0', 64)",
}


async def test_a_change_to_any_field_of_any_record_is_found(ledger: Ledger) -> None:
    await ledger.store(*(a_record() for _ in range(3)))
    await ledger.sign()
    links = await ledger.chain()
    for link in links:
        for column, change in CHANGES.items():
            value = change.format(column)
            changed = f"UPDATE audit_records SET {column} = {value} WHERE hash = '{link.hash}'"  # noqa: S608 - of this test
            await ledger.tamper("CREATE TABLE kept AS TABLE audit_records", changed)
            with pytest.raises(ChainBroken) as broken:
                await ledger.proof()
            assert broken.value.sequence == link.sequence, column
            await ledger.tamper(
                "DELETE FROM audit_records",
                "INSERT INTO audit_records SELECT * FROM kept",
                "DROP TABLE kept",
            )
    assert (await ledger.proof()).records == 3


SWAP = """
    UPDATE audit_records AS a SET sequence = -a.sequence WHERE sequence IN (2, 3);
    UPDATE audit_records SET sequence = sequence + 5 WHERE sequence < 0
"""


@pytest.mark.parametrize(
    ("statements", "sequence"),
    [
        (["DELETE FROM audit_records WHERE sequence = 1"], 1),
        (["DELETE FROM audit_records WHERE sequence = 3"], 3),
        (["DELETE FROM audit_records WHERE sequence = 5"], 5),
        (["DELETE FROM audit_records"], 1),
        (SWAP.split(";"), 2),
        (["UPDATE audit_checkpoints SET hash = repeat('1', 64)"], 5),
        (["UPDATE audit_checkpoints SET sequence = 4"], 4),
        (["UPDATE audit_checkpoints SET signature = 'AAAA'"], 5),
        (["UPDATE audit_checkpoints SET signature = 'A'"], 5),
        (["UPDATE audit_checkpoints SET key_id = 'unknown'"], 1),
    ],
)
async def test_records_removed_or_swapped_and_forged_checkpoints_are_found(
    ledger: Ledger, statements: list[str], sequence: int
) -> None:
    await ledger.store(*(a_record() for _ in range(5)))
    await ledger.sign()
    assert (await ledger.proof()).signed_records == 5
    await ledger.tamper(*statements)
    with pytest.raises(ChainBroken) as broken:
        await ledger.proof()
    assert broken.value.sequence == sequence


@pytest.mark.parametrize("length", [1, 2, 4], ids=["shorter", "as long", "longer"])
async def test_a_tail_replaced_by_one_with_the_right_hashes_is_found(
    ledger: Ledger, length: int
) -> None:
    await ledger.store(*(a_record() for _ in range(5)))
    await ledger.sign()
    head = (await ledger.chain())[2]
    await ledger.tamper(
        "DELETE FROM audit_records WHERE sequence > 3",
        f"UPDATE audit_chains SET sequence = 3, hash = '{head.hash}'",  # noqa: S608 - of this test
    )
    await ledger.store(*(a_record(subject="user:forged") for _ in range(length)))
    with pytest.raises(ChainBroken) as broken:
        await ledger.proof()
    assert broken.value.sequence == 5
    # Without the checkpoint it would pass: hashes alone prove nothing to whom they are all shown.
    await ledger.tamper("DELETE FROM audit_checkpoints")
    assert (await ledger.proof()).signed_records == 0
