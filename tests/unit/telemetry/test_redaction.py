from __future__ import annotations

import json

import pytest

from telemetry.redaction import BLANK, keep_secret, redact, redact_text

HARMLESS = ("https://example.org/a@b", "eyJust words", "swm_", "ghp_short", "input_tokens: 3")


@pytest.mark.parametrize(
    "secret",
    [
        "authorization: Bearer abcdef0123",
        "BEARER abcdef0123",
        "authorization: Basic abcdef0123Zm9v",
        "swm_adm_abcDEF-_123",
        "eyJhbGciOiJub25l.abcDEF0123.abcDEF",
        "sk-ant-api03-xyz",
        "ghp_" + "a" * 36,
        "github_pat_" + "a" * 30,
        "https://user:hunter2@example.org/r.git",
        "https://hunter2@example.org/r.git",
    ],
)
def test_what_looks_like_a_credential_goes(secret: str) -> None:
    line = redact({"message": f"failed: {secret}", "list": [secret], "deep": {"er": secret}})
    assert BLANK in line["message"]
    assert all(BLANK in each for each in (line["list"][0], line["deep"]["er"]))
    encoded = redact_text(json.dumps({"message": secret, "next": 1}))
    assert json.loads(encoded)["next"] == 1
    for text in (json.dumps(line), encoded):
        assert not any(part in text for part in ("abcdef0123", "abcDEF", "api03", "aaaa", "hunter2"))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_is_named_like_a_secret_goes_and_how_many_there_are_stays() -> None:
    given = {
        "token": "x",
        "refresh_token": "y",
        "Cookie": "z",
        "input_tokens": 7,
        "in": {"git_password": "p", "code": 3},
    }
    assert redact(given) == {
        "token": BLANK,
        "refresh_token": BLANK,
        "Cookie": BLANK,
        "input_tokens": 7,
        "in": {"git_password": BLANK, "code": 3},
    }


def test_a_secret_that_is_known_goes_whatever_it_looks_like() -> None:
    keep_secret("a-very-plain-word")
    keep_secret("short")
    assert redact_text("a-very-plain-word is short") == f"{BLANK} is short"
