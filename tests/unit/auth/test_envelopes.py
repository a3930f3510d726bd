"""Envelopes open only where they were sealed, and only whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.credentials import beside, place
from services.auth.domain.proofs import HeaderKey, NoProof
from services.auth.envelopes import Envelope, EnvelopeBroken, Envelopes
from services.auth.secrets import MasterKey

ENVELOPES = Envelopes(b"k" * 32)
NAMES = st.text(max_size=20)


@given(secret=st.text(), at=st.binary(), with_=st.binary())
def test_a_secret_is_opened_as_it_was_sealed(secret: str, at: bytes, with_: bytes) -> None:
    sealed = ENVELOPES.seal(secret, place=at, beside=with_)
    assert ENVELOPES.open(sealed, place=at, beside=with_) == secret
    again = ENVELOPES.seal(secret, place=at, beside=with_)
    assert sealed.sealed_key != again.sealed_key
    assert sealed.sealed_secret != again.sealed_secret


@given(data=st.data(), part=st.sampled_from(["sealed_key", "sealed_secret"]))
def test_a_changed_bit_is_found(data: st.DataObject, part: str) -> None:
    sealed = ENVELOPES.seal("secret", place=b"p", beside=b"b")
    altered = bytearray(getattr(sealed, part))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(EnvelopeBroken):
        ENVELOPES.open(replace(sealed, **{part: bytes(altered)}), place=b"p", beside=b"b")


def test_it_opens_nowhere_else_and_not_under_another_key() -> None:
    sealed = ENVELOPES.seal("secret", place=b"p", beside=b"b")
    other = ENVELOPES.seal("secret", place=b"p", beside=b"b")
    with pytest.raises(EnvelopeBroken):
        ENVELOPES.open(sealed, place=b"q", beside=b"b")
    with pytest.raises(EnvelopeBroken):
        ENVELOPES.open(sealed, place=b"p", beside=b"c")
    with pytest.raises(EnvelopeBroken):
        Envelopes(b"l" * 32).open(sealed, place=b"p", beside=b"b")
    mixed = Envelope(sealed.sealed_key, other.sealed_secret)
    with pytest.raises(EnvelopeBroken):
        ENVELOPES.open(mixed, place=b"p", beside=b"b")
    for cut in (b"", b"x", sealed.sealed_key[:12], sealed.sealed_key[:-1]):
        with pytest.raises(EnvelopeBroken):
            ENVELOPES.open(replace(sealed, sealed_key=cut), place=b"p", beside=b"b")


@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_no_two_places_read_alike(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (place(*one) == place(*other)) == (one == other)
    assert (beside(*one, NoProof()) == beside(*other, NoProof())) == (one == other)
    assert beside(*one, HeaderKey("a")) != beside(*one, HeaderKey("b"))


def test_the_key_of_credentials_is_the_master_keys_own() -> None:
    one, same, other = MasterKey("a" * 32), MasterKey("a" * 32), MasterKey("b" * 32)
    assert one.of_credentials == same.of_credentials != other.of_credentials
    assert len(one.of_credentials) == 32
