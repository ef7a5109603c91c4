"""Hashes, codes and seals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyotp
import pytest
from argon2 import PasswordHasher, extract_parameters

from controlplane.accounts import passwords as module
from controlplane.accounts.codes import TotpCodes
from controlplane.accounts.passwords import HASHER, Argon2Passwords
from controlplane.accounts.seal import FileSeal
from controlplane.errors import FailedPrecondition, RateLimited, StartError

NOW = 1_800_000_000.0


async def test_passwords_are_hashed_as_slowly_as_is_recommended_and_again_when_that_changes() -> None:
    weak, strong = Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)), Argon2Passwords()
    hashed = await weak.hash("correct horse battery")
    assert await strong.fits(hashed, "correct horse battery")
    assert strong.outdated(hashed)
    fresh = await strong.hash("correct horse battery")
    assert not strong.outdated(fresh)
    found = extract_parameters(fresh)
    assert found.type is HASHER.type
    assert found.memory_cost >= 19_456
    assert found.time_cost >= 2
    weak.close()
    strong.close()


async def test_nothing_fits_where_there_is_no_password_and_it_takes_a_hash_to_find_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Argon2Passwords()
    compared: list[str] = []
    verify = passwords._verify

    def spy(hashed: str, password: str) -> bool:
        compared.append(hashed)
        return verify(hashed, password)

    monkeypatch.setattr(passwords, "_verify", spy)
    assert not await passwords.fits("", "nobody")
    assert not await passwords.fits("no hash", "nobody")
    assert not await passwords.fits("", "x" * 2000)
    assert [each[:9] for each in compared] == ["$argon2id", "no hash"]
    passwords.close()


async def test_a_flood_of_guesses_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    passwords = Argon2Passwords()
    found = await asyncio.gather(*(passwords.fits("", "x") for _ in range(8)), return_exceptions=True)
    assert found.count(False) == 3
    assert sum(isinstance(each, RateLimited) for each in found) == 5
    passwords.close()


def test_codes_are_known_one_step_to_either_side() -> None:
    codes, secret = TotpCodes(), pyotp.random_base32()
    step = int(NOW) // 30
    for off in range(-3, 4):
        code = pyotp.TOTP(secret).generate_otp(step + off)
        assert codes.step(secret, code, NOW) == (step + off if abs(off) <= 1 else None)
    assert codes.step(secret, "12345", NOW) is None


def test_what_is_sealed_opens_with_its_key_and_context_only(tmp_path: Path) -> None:
    seal = FileSeal.at(tmp_path)
    sealed = seal.seal("secret", "us_1")
    assert "secret" not in sealed
    assert seal.seal("secret", "us_1") != sealed
    assert FileSeal.at(tmp_path).open(sealed, "us_1") == "secret"
    for other, context in ((seal, "us_2"), (FileSeal(b"another"), "us_1")):
        with pytest.raises(FailedPrecondition):
            other.open(sealed, context)
    (tmp_path / "accounts.key").chmod(0o644)
    with pytest.raises(StartError):
        FileSeal.at(tmp_path)
