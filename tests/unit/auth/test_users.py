"""Users as auth knows them: states, subjects, addresses, and where they sign in from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.auth.convert.users import origin_of
from services.auth.domain.attempts import Failures, Lockout
from services.auth.domain.users import User, UserState, address_key, subject_of, user_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ID = UUID("0192f0c1-7b9a-7e4e-8a2b-0123456789ab")
INVITED = User(ID, "acme", "Ada@example.org", "Ada", None, NOW)


def test_only_an_active_user_has_a_hash_to_hold_against() -> None:
    active = replace(INVITED, password_hash="hash")
    disabled = replace(active, disable_time=NOW)
    assert (INVITED.state, INVITED.usable_hash) == (UserState.INVITED, None)
    assert (active.state, active.usable_hash) == (UserState.ACTIVE, "hash")
    assert (disabled.state, disabled.usable_hash) == (UserState.DISABLED, None)


def test_subjects_name_users_and_others() -> None:
    assert user_of(subject_of(ID)) == ID
    for other in (f"key:{ID}", "user:", "user:somebody", str(ID), ""):
        assert user_of(other) is None


def test_addresses_that_differ_in_case_are_one_and_are_not_kept_in_the_clear() -> None:
    assert address_key("ADA@Example.org") == address_key("ada@example.ORG")
    assert address_key("ada@example.org") != address_key("bob@example.org")
    assert len(address_key("x" * 254)) == 32


def test_an_address_is_locked_for_the_rest_of_the_window() -> None:
    lockout = Lockout(failures=10, window=timedelta(minutes=15))
    assert Failures(9, NOW).locked_for(lockout, NOW) is None
    later = NOW + timedelta(minutes=14)
    assert Failures(10, NOW).locked_for(lockout, later) == timedelta(minutes=1)
    assert Failures(10, NOW).locked_for(lockout, NOW + timedelta(minutes=15)) is None


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:4000", "10.0.0.7"),
        ("ipv6:%5B::1%5D:4000", "::1"),
        ("ipv6:[2001:db8::1]:4000", "2001:db8::1"),
        ("unix:/tmp/socket", ""),
        ("", ""),
    ],
)
def test_without_a_proxy_the_peer_is_where_a_call_comes_from(peer: str, address: str) -> None:
    assert origin_of([], peer).address == address


def test_of_proxies_the_nearest_is_believed() -> None:
    said: list[tuple[str, str | bytes]] = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("user-agent", "curl/8 " + "x" * 300),
        ("trace-bin", b"\xff"),
    ]
    origin = origin_of(said, "ipv4:10.0.0.7:4000")
    assert origin.address == "203.0.113.9"
    assert origin.user_agent.startswith("curl/8 ")
    assert len(origin.user_agent) == 256
    assert len(origin_of([("x-forwarded-for", "x" * 500)], "").address) == 128
