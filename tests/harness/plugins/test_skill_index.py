"""/skills add https://HOST: the index, its digests, and archives that are refused."""

import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile

import pytest
from local_http import Handler, local_server
from plugin_folders import lenient
from skill_sources import left, own, published

from harness import InputError, UsageError
from harness.errors import NotAllowed
from harness.plugins import installer, skill_index
from harness.support.bounded_http import TooLong
from harness.testing import FakeModel, fake_app

TEXT = "---\nname: {name}\ndescription: Greets people.\n---\nGreet.\n"
SCRIPT = b"#!/bin/sh\necho hello\n"
LINK, DEVICE = stat.S_IFLNK, stat.S_IFCHR


def zipped(entries):
    """Return a .zip file with entries (name, content) or (name, content, mode)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, *mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode[0] if mode else 0o644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def tarred(entries):
    """Return a .tar.gz file with the same entries as `zipped`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content, *mode in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = mode[0] & 0o777 if mode else 0o644
            kind = mode[0] & ~0o777 if mode else 0
            if kind == LINK:
                entry.type, entry.linkname = tarfile.SYMTYPE, content.decode()
            elif kind == DEVICE:
                entry.type = tarfile.CHRTYPE
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content) if entry.size else None)
    return file.getvalue()


def skill(name, *more):
    return [("SKILL.md", TEXT.format(name=name).encode()), *more]


def refused(tmp_path, error, reason, *given, **index):
    """Check the error of the installation from a host with these files and skills."""
    with published(*given, **index) as (host, _), pytest.raises(error, match=reason):
        fake_app(tmp_path).dispatch(f"--yes /skills add {host}")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_skills_of_a_host_are_verified_shown_and_installed(tmp_path, pack):
    script = ("scripts/run.sh", SCRIPT, 0o755)
    files = {
        "/one.md": TEXT.format(name="one").encode(),
        "/.well-known/agent-skills/two.tgz": pack(skill("two", script)),
        "/three.md": b"never requested",
    }
    two = "/.well-known/agent-skills/two.tgz"
    with published(files, ("one", "/one.md"), ("two", two), ("three", "/three.md")) as found:
        host, requested = found
        index = json.loads(files[skill_index.PATH])
        index["skills"][1]["url"] = "two.tgz"  # relative to the index
        index["skills"].append({**index["skills"][0], "name": "odd", "type": "plugin"})
        files[skill_index.PATH] = json.dumps(index).encode()
        app = fake_app(tmp_path, FakeModel("Hello"))
        with pytest.raises(InputError, match=r"3 skills: one, two, three.*--skill, or add --all"):
            app.dispatch(f"/skills add {host}")
        with pytest.raises(NotAllowed, match="`--yes` before the line"):
            app.dispatch(f"/skills add {host} --skill one")
        app.dispatch(f"--yes /skills add {host}/ --skill one --skill two")
        record = app.dispatch("/skills two").result.data["skills"][0]["installed"]
    digest = hashlib.sha256(files[two]).hexdigest()
    assert record["source"] == f"{host}{skill_index.PATH}@sha256:{digest}"
    assert "/three.md" not in requested
    shown = app.screen.err.getvalue()
    for part in ("/two: Greets people.", "scripts/run.sh", "left out: skills.3.type: Input sho"):
        assert part in shown
    assert left(tmp_path) == ["one", "two"]
    placed = own(tmp_path) / "two" / "scripts" / "run.sh"
    assert placed.read_bytes() == SCRIPT
    assert stat.S_IMODE(placed.stat().st_mode) == 0o755
    assert app.dispatch("/two Ada").result.text == "Hello"


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (("../evil", b"x"), r"\.\./evil: leads out of the archive"),
        (("a/../../evil", b"x"), "a/../../evil: leads out of the archive"),
        (("/tmp/evil", b"x"), "/tmp/evil: leads out of the archive"),
        (("..\\evil", b"x"), r"\.\.\\evil: leads out of the archive"),
        (("C:evil", b"x"), "C:evil: leads out of the archive"),
        (("passwords", b"/etc/passwd", LINK), "passwords"),
        (("up", b"../../up", LINK), "up"),
        (("inside", b"SKILL.md", LINK), "inside: .*is a link"),
        (("big", bytes(10_000_000)), "more than 1 MB"),
        (("SKILL.md/x", b"x"), "cannot be unpacked"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_hostile_entries_are_refused_by_name(tmp_path, monkeypatch, pack, entry, reason):
    monkeypatch.setattr(installer, "MAX_BYTES", 1_000_000)
    files = {"/x.tgz": pack(skill("x", entry))}
    refused(tmp_path, InputError, reason, files, ("x", "/x.tgz"))
    assert left(tmp_path) == []
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_with_too_many_entries_or_none_are_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(installer, "MAX_FILES", 20)
    many = [(f"f{number}", b"") for number in range(75)]
    cases = {
        pack(skill("x", *many[:25])): "the archive has more than 20 entries",
        pack(skill("x", *many)): "more than 20 entries",
        tarred(skill("x", ("device", b"", DEVICE))): "device",
        pack([("inner/SKILL.md", b"x")]): r"has no SKILL\.md at its root",
        pack(skill("x"))[:-30]: "cannot be unpacked",
        zipped(skill("x", ("", b"without a name"))): "cannot be unpacked",
        pack(skill("other")): "the index names the skill x, and its SKILL.md other",
    }
    for content, reason in cases.items():
        refused(tmp_path, InputError, reason, {"/x.tgz": content}, ("x", "/x.tgz"))
    assert left(tmp_path) == []


def test_a_compressed_bomb_is_not_decompressed_beyond_the_limit(tmp_path, monkeypatch):
    """The header of 500 MB would be read into memory before its entry is known."""
    monkeypatch.setattr(installer, "MAX_BYTES", 1_000_000)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 500_000_000
    file = io.BytesIO()
    with skill_index.gzip.GzipFile(fileobj=file, mode="w") as compressed:
        compressed.write(header.tobuf())
        for _ in range(20):
            compressed.write(bytes(1_000_000))
    refused(
        tmp_path, InputError, "it has more than 1 MB", {"/x.tgz": file.getvalue()}, ("x", "/x.tgz")
    )


def test_wrong_digest_is_refused(tmp_path):
    files = {"/x.md": TEXT.format(name="x").encode()}
    refused(
        tmp_path,
        InputError,
        r"/x\.md: x has the digest .* the index states",
        files,
        ("x", "/x.md", "0" * 64),
    )
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({"$schema": "https://example.org/0.3.0"}, "of the unknown version 'https://example.org"),
        ({"$schema": None}, r"without a \$schema"),
        ({"skills": {}}, "the index has no usable skill"),
        ({"skills": [{"name": "../x"}]}, r"left out: skills\.0\.name"),
    ],
)
def test_other_indexes_are_not_processed(tmp_path, index, reason):
    refused(tmp_path, InputError, reason, {}, **index)


def test_faulty_hosts(tmp_path, monkeypatch):
    moved = {"Location": "http://localhost:9/x.md"}
    files = {"/x.md": TEXT.format(name="x").encode()}
    app, add = fake_app(tmp_path), "--yes /skills add"
    for faulty, error, reason in (
        ({"/x.md": (302, b"", moved)}, InputError, "redirects to http://localhost:9, which is not"),
        ({"/x.md": (500, b"", {})}, InputError, "the server answers 500"),
        ({skill_index.PATH: b"<html>"}, InputError, "the index is not JSON"),
        ({skill_index.PATH: bytes(3_000_000)}, TooLong, "more than 2 MB"),
        ({skill_index.PATH: (404, b"", {})}, InputError, "the server answers 404"),
    ):
        refused(tmp_path, error, reason, {**files, **faulty}, ("x", "/x.md"))
    with pytest.raises(InputError, match=r"cannot be downloaded: .*refused"):
        app.dispatch(f"{add} http://127.0.0.1:9")
    with pytest.raises(UsageError, match="read over https only"):
        app.dispatch(f"{add} http://example.org")
    refused(
        tmp_path, InputError, "the address of x is not https", {}, ("x", "http://example.org/x.md")
    )
    there = {skill_index.PATH: (301, b"", {"Location": "/index.json"})}
    refused(tmp_path, InputError, r"without a \$schema", {**there, "/index.json": b"{}"})
    assert left(tmp_path) == []


def test_a_host_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(skill_index, "SECONDS", 0.3)
    release = threading.Event()

    class Silent(Handler):
        def do_GET(self):
            release.wait(20)

    with local_server(Silent) as port:
        try:
            with pytest.raises(InputError, match=r"not finished within 0\.3 s|timed out"):
                lenient(tmp_path).dispatch(f"--yes /skills add http://127.0.0.1:{port}")
        finally:
            release.set()
