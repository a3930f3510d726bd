"""Evening out and checking what is uploaded, and the settings of blobs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.task.blobs.blob import NewBlob
from services.task.blobs.errors import BlobTooLarge
from services.task.blobs.receiving import Receiving
from services.task.blobs.settings import BlobSettings, S3Settings
from services.task.blobs.store import PIECE_BYTES

LENGTHS = st.integers(0, 3 * PIECE_BYTES) | st.sampled_from([1, PIECE_BYTES, PIECE_BYTES + 1])
UNKNOWN = NewBlob("", 0, b"")


async def sent(lengths: list[int]) -> AsyncIterator[bytes]:
    for number, length in enumerate(lengths):
        yield bytes([number % 256]) * length


@given(st.lists(LENGTHS, max_size=6))
async def test_pieces_are_even_whatever_is_sent(lengths: list[int]) -> None:
    whole = b"".join([each async for each in sent(lengths)])
    receiving = Receiving(UNKNOWN, max_bytes=1 << 30)
    pieces = [piece async for piece in receiving.pieces(sent(lengths))]
    assert b"".join(pieces) == whole
    assert all(len(piece) == PIECE_BYTES for piece in pieces[:-1])
    assert all(pieces)
    assert (receiving.size, receiving.sha256) == (len(whole), hashlib.sha256(whole).digest())


async def test_too_much_is_noticed_before_the_rest_is_read() -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(PIECE_BYTES)
            yield bytes(PIECE_BYTES)

    receiving = Receiving(UNKNOWN, max_bytes=2 * PIECE_BYTES)
    with pytest.raises(BlobTooLarge) as refused:
        async for _ in receiving.pieces(endless()):
            pass
    assert len(taken) == 3
    assert refused.value.metadata == {"limit_bytes": str(2 * PIECE_BYTES)}


def test_a_bucket_must_be_named_for_blobs_to_go_there() -> None:
    with pytest.raises(ValidationError, match=r"set s3\.bucket too"):
        BlobSettings(store="s3")
    assert BlobSettings(store="s3", s3=S3Settings(bucket="blobs")).store == "s3"
