"""Secrets in text that is shown or stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness import redaction
from harness.errors import HarnessError
from harness.models.backends.remote import shown_address
from harness.redaction import REDACTED, held_back, redact, remember, without_secrets
from harness.support.sqlite import storable

KEY = "sk-1234567890abcdef"


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", set())
    monkeypatch.setattr(redaction, "_of_environment", lambda: frozenset())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://anna:secret@host:80/v1 failed", "GET http://host:80/v1 failed"),
        ("https://to:k@en@host/a, then", "https://host/a, then"),
        ("see https://h/v1?api_key=abc&model=x", f"see https://h/v1?api_key={REDACTED}&model=x"),
        ("'/v1?a=1&access_token=abc'", f"'/v1?a=1&access_token={REDACTED}'"),
        ("/v1?X-Amz-Signature=ab12", f"/v1?X-Amz-Signature={REDACTED}"),
        ("https://h/?monkey=1&tokens_used=3", "https://h/?monkey=1&tokens_used=3"),
        ("mail anna@example.org & ask?", "mail anna@example.org & ask?"),
        ('{"u": "https://h/?key=ab\\"}', f'{{"u": "https://h/?key={REDACTED}\\"}}'),
    ],
)
def test_addresses_in_text_lose_their_secrets(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_key_that_is_used_is_redacted_everywhere() -> None:
    assert remember(KEY) == KEY
    assert redact(f"invalid key {KEY}!") == f"invalid key {REDACTED}!"
    assert KEY not in str(HarnessError(f"no {KEY}", where=f"at {KEY}", hint=f"Change {KEY}."))
    assert KEY not in storable(f"/annotate {KEY}")


def test_the_password_of_an_address_is_redacted_where_a_server_repeats_it() -> None:
    assert shown_address("http://anna:pass%2Fword1@host/v1?key=k3y-12345") == (
        f"http://host/v1?key={REDACTED}"
    )
    text = "pass%2Fword1, pass/word1 and k3y-12345"
    assert redact(text) == f"{REDACTED}, {REDACTED} and {REDACTED}"
    assert shown_address("anna:password-1@host:11434") == "host:11434"


@pytest.mark.parametrize("word", ["ollama", "none", "EMPTY", "lm-studio", "/home/anna/key1.pem"])
def test_words_that_take_the_place_of_a_key_are_not_redacted(word: str) -> None:
    remember(word)
    assert without_secrets(f"a {word} b") == f"a {word} b"


def test_the_beginning_of_a_secret_at_the_end_of_a_text_is_known() -> None:
    remember(KEY)
    assert [held_back(text) for text in ("", "a s", f"a {KEY[:-1]}", "sky")] == [0, 1, 18, 0]


def test_values_of_the_environment_that_look_like_keys_are_redacted() -> None:
    values = {
        "OPENAI_API_KEY": KEY,
        "GH_TOKEN": "ghp_12345678",
        "OLLAMA_HOST": "http://u:pa55-word@h",
        "KEYBOARD": "layout-12345",
        "SSH_KEY_FILE": "/home/a/.ssh/id_rsa1",
    }
    text = json.dumps(" ".join(values.values()))
    run = [sys.executable, "-c", f"from harness.redaction import redact; print(redact({text}))"]
    out = subprocess.run(run, env={**os.environ, **values}, capture_output=True, text=True).stdout
    assert out == f"{REDACTED} {REDACTED} http://h layout-12345 /home/a/.ssh/id_rsa1\n"
