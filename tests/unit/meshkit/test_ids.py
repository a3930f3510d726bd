"""UUIDv7."""

from __future__ import annotations

import time
from uuid import RFC_4122

from meshkit.ids import uuid7


def test_ids_are_rfc_9562_version_7_and_sort_by_their_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(2000)]
    after = time.time_ns() // 1_000_000

    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert len(set(ids)) == len(ids)
    milliseconds = [each.int >> 80 for each in ids]
    assert milliseconds == sorted(milliseconds)
    assert before <= milliseconds[0] <= milliseconds[-1] <= after


def test_every_other_bit_is_random() -> None:
    always_one, ever_one = (1 << 128) - 1, 0
    for _ in range(200):
        always_one, ever_one = always_one & (bits := uuid7().int), ever_one | bits
    random_bits = ((1 << 12) - 1) << 64 | ((1 << 62) - 1)
    assert ever_one & random_bits == random_bits
    assert always_one & random_bits == 0
