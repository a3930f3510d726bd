"""The form of API keys, and what the master key derives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.errors import MasterKeyWrong
from services.auth.secrets import MasterKey, Presented, compose, new_secret, parse

ENVIRONMENT = st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True)
SECRET = st.text("abcXYZ019-_", min_size=43, max_size=43)


@given(environment=ENVIRONMENT, key_id=st.uuids(), secret=SECRET)
def test_a_key_is_read_as_it_was_written(environment: str, key_id: object, secret: str) -> None:
    written = compose(environment, key_id, secret)  # type: ignore[arg-type]  # hypothesis' own UUIDs
    assert written.startswith(f"mesh_{environment}_")
    assert parse(written) == Presented(key_id, secret)  # type: ignore[arg-type]  # as above


@given(key_id=st.uuids(), secret=SECRET, place=st.integers(0, 200), put=st.text(max_size=2))
def test_a_slip_in_a_key_is_seen(key_id: object, secret: str, place: int, put: str) -> None:
    written = compose("dev", key_id, secret)  # type: ignore[arg-type]  # hypothesis' own UUIDs
    slipped = written[:place] + put + written[place + 1 :]
    assert (parse(slipped) is None) == (slipped != written)


@given(text=st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    assert parse(text) is None


def test_each_secret_is_new_and_holds_256_bits() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in secrets)


def test_what_a_master_key_derives_is_its_own() -> None:
    one, same, other = MasterKey("a" * 32), MasterKey("a" * 32), MasterKey("b" * 32)
    assert one.digest("s") == same.digest("s") != other.digest("s")
    assert len(one.digest("s")) == 32
    sealed = one.seal(b"private")
    assert b"private" not in sealed
    assert same.unseal(sealed) == b"private"
    for wrong, text in ((other, sealed), (one, sealed[:-1]), (one, b"")):
        with pytest.raises(MasterKeyWrong, match="AGENTMESH_AUTH__MASTER_KEY"):
            wrong.unseal(text)
