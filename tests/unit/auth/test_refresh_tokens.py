"""The form of refresh tokens: those that were never issued are told apart."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from meshkit.ids import uuid7
from services.auth.secrets import MasterKey
from services.auth.usecases.refresh_tokens import RefreshTokens

TOKENS = RefreshTokens(MasterKey("m" * 32))
SESSION = UUID("0192f0c1-7b9a-7e4e-8a2b-0123456789ab")


def test_a_token_names_its_session_and_is_read_again() -> None:
    made = TOKENS.make(SESSION)
    assert re.fullmatch(rf"meshr_{SESSION.hex}_[A-Za-z0-9_-]{{43}}", made.text)
    assert TOKENS.read(made.text) == made
    assert made.session_id == SESSION
    assert made.text.encode() not in made.digest
    assert TOKENS.make(SESSION).text != made.text


def test_what_was_never_issued_is_no_token() -> None:
    made = TOKENS.make(SESSION).text
    other = f"meshr_{uuid7().hex}_{made[-43:]}"
    flipped = made[:-5] + ("A" if made[-5] != "A" else "B") + made[-4:]
    for text in ("", "meshr_", made[:-1], made + "A", made.upper(), other, flipped):
        assert TOKENS.read(text) is None
    assert RefreshTokens(MasterKey("n" * 32)).read(made) is None


@pytest.mark.parametrize("spare", range(1, 4))
def test_bits_that_mean_nothing_make_no_other_token(spare: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    made = TOKENS.make(SESSION).text
    last = alphabet.index(made[-1])
    assert last % 4 == 0
    assert TOKENS.read(made[:-1] + alphabet[last + spare]) is None
