"""mcp.json: which files and entries are read, and how errors are reported."""

from __future__ import annotations

import json
import os
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.mcp.client_config import Configuration, add, read, remove
from harness.places import is_protected
from harness.plugins import trust
from harness.plugins.trust import TrustStore
from harness.redaction import REDACTED, redact
from harness.settings import Settings
from harness.testing import fake_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "config").mkdir()
    return replace(fake_settings(tmp_path), project_dir=project)


def write(path: Path, **servers: Any) -> Path:
    path.write_text(json.dumps({"mcpServers": servers}, indent=1))
    return path


def named(found: Configuration) -> list[str]:
    return [entry.name for entry in found.entries]


def test_no_file_is_no_server(settings: Settings) -> None:
    assert read(settings) == Configuration()


def test_a_file_that_cannot_be_read_is_a_problem(settings: Settings) -> None:
    folder = settings.config_dir / ("x" * 300)  # even root cannot read this folder
    [problem] = read(replace(settings, config_dir=folder)).problems
    assert str(problem) == f"{folder / 'mcp.json'}: cannot be read: File name too long"


def test_both_kinds_of_servers_with_fields_of_other_clients(settings: Settings) -> None:
    write(
        settings.mcp_file,
        local={"command": "npx", "args": ["-y", "a server"], "autoApprove": ["*"], "trust": True},
        remote={"type": "http", "url": "https://example.org/mcp", "headers": {"A": "b"}},
        off={"command": "x", "disabled": True},
    )
    found = read(settings)
    assert found.problems == []
    assert [entry.place for entry in found.entries] == [
        "npx -y 'a server'",
        "https://example.org/mcp",
        "x",
    ]
    assert [entry.written.disabled for entry in found.entries] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{\n"mcpServers": {\n,}}', 3, "it is not JSON"),
        ("[]", 1, "it has no object 'mcpServers'"),
        ("", 1, "it is not JSON"),
        ('{\n"mcpServers": 3}', 2, "it has no object"),
        ("[" * 100_000, None, "it is not usable JSON"),
        ('{"mcpServers": {"a": {"command": ' + "1" * 5000 + "}}}", None, "it is not usable JSON"),
        (" " * 1_100_000, None, "1 MB"),
        (b'{\n"mcpServers": "\xff"}', 2, "not UTF-8"),
    ],
)
def test_malformed_file_is_named_with_its_line(
    settings: Settings, text: str | bytes, line: int | None, problem: str
) -> None:
    settings.mcp_file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read(settings)
    [error] = found.problems
    where = str(settings.mcp_file)
    assert error.where == (where if line is None else f"{where}:{line}")
    assert problem in error.message
    assert found.entries == []


@pytest.mark.parametrize(
    ("server", "line", "problem"),
    [
        ({"args": []}, 3, "needs a command or a url"),
        ({"command": "x", "url": "http://y"}, 3, "needs a command or a url"),
        ({"url": "file:///etc/passwd"}, 3, "not http or https"),
        ({"command": "x", "env": {"PORT": 8080}}, 6, "env.PORT: Input should be a valid string"),
        ({"command": "x", "args": "y"}, 5, "args: Input should be a valid list"),
        ({"type": "sse", "url": "http://y"}, 4, "type: Input should be"),
        (3, 3, "Input should be"),
    ],
)
def test_wrong_server_costs_itself_alone(
    settings: Settings, server: Any, line: int, problem: str
) -> None:
    write(settings.mcp_file, bad=server, good={"command": "x"})
    found = read(settings)
    [error] = found.problems
    assert error.where == f"{settings.mcp_file}:{line}"
    assert problem in error.message
    assert named(found) == ["good"]


def test_variables_are_replaced(settings: Settings) -> None:
    write(
        settings.mcp_file,
        api={"command": "${BIN}/x", "args": ["${A:-none}", "$A", "${1}"], "env": {"KEY": "${KEY}"}},
    )
    [entry] = read(settings).entries
    done = entry.resolved({"BIN": "/opt", "KEY": "${BIN}"})
    assert (done.command, done.args, done.env) == (
        "/opt/x",
        ["none", "$A", "${1}"],
        {"KEY": "${BIN}"},
    )
    with pytest.raises(UsageError, match="environment variable KEY, which is not set") as caught:
        entry.resolved({"BIN": ""})
    assert caught.value.where == f"{settings.mcp_file}:3"
    assert "${KEY}" in repr(entry)


@pytest.mark.parametrize(
    ("server", "value", "problem"),
    [
        ({"url": "${V}"}, "mcp.example.org/secret", "the url is not http or https"),
        ({"command": "${V}", "args": ["secret"]}, "", "a server needs a command or a url"),
    ],
)
def test_a_server_that_variables_make_unusable_is_refused_without_values(
    settings: Settings, server: dict[str, Any], value: str, problem: str
) -> None:
    write(settings.mcp_file, api=server)
    [entry] = read(settings).entries
    with pytest.raises(UsageError, match=problem) as caught:
        entry.resolved({"V": value})
    assert caught.value.where == f"{settings.mcp_file}:3"
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "token"])
def test_the_key_after_a_scheme_is_redacted(settings: Settings, scheme: str) -> None:
    key = f"{scheme}-0123456789"
    headers = {"Authorization": f"{scheme} {key}"}
    write(settings.mcp_file, api={"url": "https://example.org", "headers": headers})
    [entry] = read(settings).entries
    entry.resolved({})
    assert redact(f"refused: {key}") == f"refused: {REDACTED}"


def test_names_become_beginnings_of_tool_names(settings: Settings) -> None:
    names = ["My Server", "a__b", "_x_", "ü", "n" * 50, "a_b"]
    write(settings.mcp_file, **{name: {"command": "x"} for name in names})
    found = read(settings)
    assert named(found) == ["My_Server", "a_b", "x", "n" * 30]
    assert [error.message for error in found.problems] == [
        "the server 'ü' needs a name with letters or digits",
        f"the server a_b is left out: {settings.mcp_file}:6 has a server with this name",
    ]


def test_the_project_is_read_once_trusted_and_only_unchanged(settings: Settings) -> None:
    write(settings.mcp_file, mine={"command": "x"}, both={"command": "mine"})
    path = write(settings.project_dir / ".mcp.json", both={"command": "evil"}, its={"command": "y"})
    found = read(settings)
    assert (named(found), found.untrusted) == (["mine", "both"], [path])
    TrustStore(settings.trust_file).trust(path)
    copies = {*trust.private_folder().iterdir()}
    found = read(settings)
    assert {*trust.private_folder().iterdir()} == copies, "the copy is deleted"
    assert (named(found), found.untrusted) == (["mine", "both", "its"], [])
    assert found.entries[1].written.command == "mine"
    [error] = found.problems
    assert "has a server with this name" in error.message
    write(path, its={"command": "changed"})
    assert read(settings).untrusted == [path]


def test_what_replaces_a_trusted_file_is_not_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(settings.project_dir / ".mcp.json", its={"command": "good"})
    TrustStore(settings.trust_file).trust(path)
    hashed = trust.content_hash

    def late(folder: Path, copy: Path | None = None) -> str:
        known = hashed(folder, copy)
        write(path, its={"command": "evil"})
        return known

    monkeypatch.setattr(trust, "content_hash", late)
    [entry] = read(settings).entries
    assert (entry.written.command, entry.where) == ("good", f"{path}:3")
    monkeypatch.undo()
    assert read(settings).untrusted == [path]


def test_a_model_may_not_write_the_files(settings: Settings) -> None:
    for path in (settings.mcp_file, *settings.project_mcp_files):
        assert is_protected(path, settings.protected)


def test_too_many_servers(settings: Settings) -> None:
    write(settings.mcp_file, **{f"s{n}": {"command": "x"} for n in range(51)})
    [error] = read(settings).problems
    assert "51 servers" in error.message


def test_a_server_is_written_beside_what_the_file_has(settings: Settings) -> None:
    target = settings.mcp_file.with_name("dotfiles.json")
    settings.mcp_file.symlink_to(target)
    write(target, old={"command": "x", "autoApprove": ["*"]})
    add(settings.mcp_file, "new one", {"command": "npx", "args": ["-y", "pkg"]})
    assert settings.mcp_file.is_symlink()
    content = json.loads(target.read_text())
    assert content["mcpServers"] == {
        "old": {"command": "x", "autoApprove": ["*"]},
        "new one": {"command": "npx", "args": ["-y", "pkg"]},
    }
    assert named(read(settings)) == ["old", "new_one"]
    remove(settings.mcp_file, "old")
    remove(settings.mcp_file, "new_one")
    assert named(read(settings)) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_user_may_read_what_is_written(settings: Settings) -> None:
    add(settings.mcp_file, "mine", {"url": "https://example.org", "headers": {"Key": "secret"}})
    assert settings.mcp_file.stat().st_mode & 0o777 == 0o600


def test_a_server_of_the_name_is_replaced_by_force_alone(settings: Settings) -> None:
    write(settings.mcp_file, **{"a b": {"command": "x"}})
    with pytest.raises(UsageError, match=r"mcp\.json:3: there is a server 'a b'. --force"):
        add(settings.mcp_file, "a_b", {"command": "y"})
    add(settings.mcp_file, "a_b", {"command": "y"}, force=True)
    assert [entry.place for entry in read(settings).entries] == ["y"]


@pytest.mark.parametrize(
    ("name", "server", "problem"),
    [
        ("?", {"command": "x"}, "letters or digits"),
        ("a", {"command": "x", "args": [3]}, "args.0"),
        ("a", {"url": "ftp://example.org"}, "not http"),
        ("a", {}, "a command or a url"),
    ],
)
def test_what_could_not_be_read_is_not_written(
    settings: Settings, name: str, server: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        add(settings.mcp_file, name, server)
    assert not caught.value.where
    assert not settings.mcp_file.exists()


def test_a_damaged_file_is_not_replaced(settings: Settings) -> None:
    settings.mcp_file.write_text("{\n,")
    for change in (
        lambda: add(settings.mcp_file, "a", {"command": "x"}),
        lambda: remove(settings.mcp_file, "a"),
    ):
        with pytest.raises(UsageError, match=r"mcp\.json:2"):
            change()
    assert settings.mcp_file.read_text() == "{\n,"


def test_to_delete_an_unknown_server_is_an_error(settings: Settings) -> None:
    with pytest.raises(UsageError, match="no server 'a'"):
        remove(settings.mcp_file, "a")
    write(settings.mcp_file, github={"command": "x"})
    with pytest.raises(UsageError, match="Did you mean github"):
        remove(settings.mcp_file, "gihub")
