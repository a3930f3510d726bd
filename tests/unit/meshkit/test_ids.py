"""UUIDv7."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest

from meshkit.ids import read_uuid, uuid7


def test_ids_are_rfc_9562_version_7_and_sort_by_when_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(2000)]
    after = time.time_ns() // 1_000_000

    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert [str(each) for each in ids] == sorted(map(str, ids))
    milliseconds = [each.int >> 80 for each in ids]
    assert before <= milliseconds[0] <= milliseconds[-1] <= after


def test_ids_sort_by_when_they_were_made_though_the_clock_stands_or_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: first.int >> 80)
    later = [uuid7() for _ in range(5000)]
    assert [first, *later] == sorted({first, *later})


def test_every_other_bit_is_random() -> None:
    always_one, ever_one = (1 << 128) - 1, 0
    for _ in range(2000):
        always_one, ever_one = always_one & (bits := uuid7().int), ever_one | bits
    random_bits = (1 << 62) - 1
    assert ever_one & random_bits == random_bits
    assert always_one & random_bits == 0


def test_what_is_read_is_a_uuid_like_any_other() -> None:
    text = "0192f0c1-7b9a-7e4e-8a2b-0123456789ab"
    read = read_uuid(text)
    assert isinstance(read, UUID)
    assert (read, hash(read), str(read)) == (UUID(text), hash(UUID(text)), text)
    assert {UUID(text): 1}[read] == 1
