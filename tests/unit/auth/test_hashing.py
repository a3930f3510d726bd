"""Hashing passwords: few at a time, a bounded number waiting, as much work for nobody's."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import extract_parameters
from pydantic import SecretStr

from services.auth.errors import SignInBusy
from services.auth.settings import AuthSettings
from services.auth.usecases.hashing import PasswordHasher
from tests.waiting import until


def settings(**rest: Any) -> AuthSettings:
    cheap = {"password_memory": 8, "password_time_cost": 1, "password_workers": 1}
    return AuthSettings(master_key=SecretStr("m" * 32), **{**cheap, **rest})


async def test_only_the_password_that_was_hashed_fits() -> None:
    hasher = PasswordHasher(settings())
    hashed = await hasher.hash("corréct horse")
    assert hashed.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert "horse" not in hashed
    assert await hasher.verify(hashed, "corréct horse")
    assert not await hasher.verify(hashed, "corréct horse ")
    # The same letters, composed otherwise, are other bytes.
    assert not await hasher.verify(hashed, "corre\u0301ct horse")
    assert await hasher.hash("corréct horse") != hashed


async def test_defaults_are_what_is_recommended() -> None:
    made = AuthSettings(master_key=SecretStr("m" * 32))
    hashed = await PasswordHasher(made).hash("x")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert made.password_workers >= 1


async def test_nobodys_password_takes_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    real = Argon2.verify

    def verify(self: Argon2, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return real(self, password_hash, password)

    monkeypatch.setattr(Argon2, "verify", verify)
    hasher = PasswordHasher(settings(password_memory=16))
    hashed = await hasher.hash("right")
    assert not await hasher.verify(None, "right")
    assert not await hasher.verify(hashed, "wrong")
    nobodys, somebodys = verified
    assert extract_parameters(nobodys) == extract_parameters(somebodys)


async def test_a_hash_of_other_parameters_is_outdated_and_still_fits() -> None:
    old = await PasswordHasher(settings()).hash("right")
    hasher = PasswordHasher(settings(password_time_cost=2))
    assert hasher.is_outdated(old)
    assert await hasher.verify(old, "right")
    assert not hasher.is_outdated(await hasher.hash("right"))


class Gate:
    """Holds back each hashing until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self._open = threading.Event()
        real = Argon2.hash

        def hashed(argon2: Argon2, password: str) -> str:
            self.begun += 1
            assert self._open.wait(30)
            return real(argon2, password)

        monkeypatch.setattr(Argon2, "hash", hashed)

    def open(self) -> None:
        self._open.set()


async def test_more_than_may_wait_are_refused_and_room_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(monkeypatch)
    hasher = PasswordHasher(settings(password_queue=2))
    waiting = [asyncio.create_task(hasher.hash("x")) for _ in range(3)]
    await until(lambda: gate.begun == 1)
    with pytest.raises(SignInBusy, match="try again") as busy:
        await hasher.hash("x")
    assert busy.value.retry_after == 1.0
    gate.open()
    assert len(await asyncio.gather(*waiting)) == 3
    assert await hasher.hash("x")


async def test_a_caller_that_goes_away_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    hasher = PasswordHasher(settings(password_queue=1))
    first = asyncio.create_task(hasher.hash("x"))
    await until(lambda: gate.begun == 1)
    second = asyncio.create_task(hasher.hash("x"))
    await asyncio.sleep(0)
    with pytest.raises(SignInBusy):
        await hasher.hash("x")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    third = asyncio.create_task(hasher.hash("x"))
    await asyncio.sleep(0)
    gate.open()
    assert await first
    assert await third
    assert gate.begun == 2
