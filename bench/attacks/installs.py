"""Attack the installation of skills: hostile archives, and repositories behind https.

archives: .zip and .tar.gz files that are damaged, that expand to huge contents, or that have links,
devices, or members outside of the folder.
https-clones: git repositories on a server with a certificate that must not be accepted, or with
redirects to another protocol.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import shutil
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from agent_process import environment_of

from harness.errors import HarnessError
from harness.plugins.installer import MAX_BYTES, MAX_FILES
from harness.plugins.skill_index import unpack
from harness.settings import CODE_ROOT

ARCHIVES = 200
GROWTH = 130_000_000
"""Bytes by which the memory may grow: twice the maximum content of an archive."""
SKILL = b"---\nname: theirs\ndescription: Greets people.\n---\nGreet them.\n"
OUTSIDE = "outside"
NAMES = (
    *("../outside", "a/../../outside", "/outside", "..\\outside", "C:\\outside", "C:outside"),
    *("//host/outside", "./../outside", "a\x00/../../outside", "x" * 300, "a/" * 3000 + "b", ""),
    *(".", "..", "SKILL.md", "SKILL.md/x", "skill.md", "scripts/run.sh", "a\nb", "\u202ea", "con"),
)
KINDS = (
    *(tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"),
)


def _tar(rng: random.Random, target: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=rng.choice((0, 1, 2))) as archive:
        for number in range(rng.randint(1, 6)):
            entry = tarfile.TarInfo("SKILL.md" if number == 0 else rng.choice((*NAMES, "link")))
            entry.type, entry.linkname = rng.choice(KINDS) if number else tarfile.REGTYPE, target
            entry.mode = rng.choice((0o644, 0o755, 0o4777, 0))
            entry.size = len(SKILL) if entry.isreg() else 0
            with contextlib.suppress(ValueError):  # the name is not possible in this tar format
                archive.addfile(entry, io.BytesIO(SKILL))
        if rng.random() < 0.3:  # a file below a member that is a link
            link, through = tarfile.TarInfo("link"), tarfile.TarInfo(f"link/{OUTSIDE}")
            link.type, link.linkname, through.size = tarfile.SYMTYPE, target, len(SKILL)
            archive.addfile(link)
            archive.addfile(through, io.BytesIO(SKILL))
    content = file.getvalue()
    if rng.random() < 0.2:
        content += bytes(rng.choice((10**6, 3 * 10**8)))
    return gzip.compress(content, 1)


def _zip(rng: random.Random, target: str) -> bytes:
    file = io.BytesIO()
    modes = (0, 0o100644, 0o100755, stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFIFO)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(rng.randint(1, 6)):
            name = "SKILL.md" if number == 0 else rng.choice(NAMES)
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = rng.choice(modes) << 16
            link = stat.S_ISLNK(entry.external_attr >> 16)
            content = target.encode() if link else SKILL
            content = bytes(MAX_BYTES + 1) if rng.random() < 0.05 else content
            with warnings.catch_warnings(action="ignore"):  # about members with equal names
                archive.writestr(entry, content)
    return file.getvalue()


def _damaged(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 5, 50))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])


def archives(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Unpack hostile archives; no file and no target of a link may be outside of the folder."""
    for number in range(ARCHIVES):
        place = folder / f"{number}"
        inside = place / "inside"
        inside.mkdir(parents=True)
        target = rng.choice(("../outside", str(place / OUTSIDE), "/etc/passwd", "..", "SKILL.md"))
        make = rng.choice((_tar, _zip))
        content = make(rng, target)
        content = _damaged(content, rng) if rng.random() < 0.3 else content
        yield in_child(place, partial(_unpacked, content, inside))
        shutil.rmtree(place)


def in_child(place: Path, work: Callable[[], str]) -> str | None:
    """Call `work` in a fork of this process; return its failure, or None if `work` returns ""."""
    child = os.fork()
    if child == 0:
        try:
            failure = work()
        except BaseException as exc:  # noqa: BLE001 an error other than the documented error
            failure = f"{type(exc).__name__}: {exc}"
        (place / "failure").write_text(failure)
        os._exit(0)
    os.waitpid(child, 0)
    return (place / "failure").read_text() or None


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _unpacked(content: bytes, inside: Path) -> str:
    before, place = _peak(), inside.parent
    with contextlib.suppress(HarnessError):
        unpack(content, inside, "archive", MAX_FILES, MAX_BYTES)
    if found := [path.name for path in place.iterdir() if path != inside]:
        return f"{found} is outside of the folder"
    for path in inside.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            return f"{path.name} leads to {path.resolve()}"
        if not (path.is_file() or path.is_dir() or path.is_symlink()):
            return f"{path.name} is a special file"
        if path.stat(follow_symlinks=False).st_mode & 0o6000:
            return f"{path.name} runs with the rights of its owner"
    grown = _peak() - before
    return f"{grown / 1e6:.0f} MB more memory" if grown > GROWTH else ""


class _Repository(BaseHTTPRequestHandler):
    """A handler that serves a bare repository by git's smart protocol, or redirects requests."""

    repository, location = Path(), ""

    def do_GET(self) -> None:
        if self.location:
            self.send_response(302)
            self.send_header("Location", self.location + self.path)
            self.end_headers()
        else:
            self._answer(
                "advertisement", b"001e# service=git-upload-pack\n0000", "--advertise-refs"
            )

    def do_POST(self) -> None:
        self._answer("result", b"")

    def _answer(self, kind: str, begin: bytes, *options: str) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            sent = gzip.decompress(sent)
        command = ["git", "upload-pack", "--stateless-rpc", *options, str(self.repository)]
        made = subprocess.run(command, input=sent, capture_output=True, check=False)
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        self.send_header("Content-Length", f"{len(begin + made.stdout)}")
        self.end_headers()
        self.wfile.write(begin + made.stdout)

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def _serving(repository: Path, certificate: Path | None, location: str = "") -> Iterator[int]:
    handler = type("Handler", (_Repository,), {"repository": repository, "location": location})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _certificate(folder: Path, name: str, days: int) -> Path:
    """Return a file with a self-signed certificate for a host, and its key."""
    key, file = folder / f"{name}-{days}.key", folder / f"{name}-{days}.pem"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
    kind = "IP" if name[0].isdigit() else "DNS"
    words += f" -addext subjectAltName={kind}:{name} -keyout {key} -out {file}"
    dates = ["-days", f"{days}"]
    if days < 0:
        dates = ["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"]
    subprocess.run([*words.split(), *dates], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def _bare_repository(folder: Path) -> Path:
    source, bare = folder / "source", folder / "web" / "theirs.git"
    source.mkdir()
    (source / "SKILL.md").write_bytes(SKILL)
    user = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "."], [*user, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(bare)], check=True)
    return bare


def clones(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Clone over https; untrusted certificates and redirects must be refused."""
    bare = _bare_repository(folder)
    sound = _certificate(folder, "127.0.0.1", 2)
    wrong = {"self-signed": (sound, None)}
    other = _certificate(folder, "other.example", 2)
    wrong["of another host"] = (other, other)
    with contextlib.suppress(subprocess.CalledProcessError):  # an old openssl lacks -not_before
        expired = _certificate(folder, "127.0.0.1", -1)
        wrong["expired"] = (expired, expired)

    def add(number: int, url: str, trusted: Path | None) -> tuple[bool, str]:
        """Run `/skills add` in a new project; return True if it installs the skill, and the output.

        Args:
            trusted: a certificate that git accepts, or None.
        """
        project = folder / f"{number}"
        (project / ".git").mkdir(parents=True)
        planted = f'[http]\n\tsslVerify = false\n[url "{bare.as_uri()}"]\n\tinsteadOf = {url}\n'
        (project / ".git" / "config").write_text(planted)
        (project / ".env").write_text("GIT_SSL_NO_VERIFY=1\n")
        environment = environment_of(project) | {"PYTHONPATH": str(CODE_ROOT)}
        environment |= {"GIT_SSL_CAINFO": str(trusted)} if trusted else {}
        line = [sys.executable, str(CODE_ROOT / "agent.py"), "--yes", f"/skills add {url}"]
        made = subprocess.run(
            line,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        installed = list((project / "config").rglob("SKILL.md"))
        return bool(installed), made.stdout + made.stderr

    with _serving(bare, sound) as port:
        done, said = add(0, f"https://127.0.0.1:{port}/theirs.git", sound)
        yield None if done else f"a sound repository is not installed: {said[-300:]}"
    for number in range(1, 13):
        name = rng.choice([*wrong, "redirect to http", "redirect to file", "redirect to ext"])
        location, (certificate, trusted) = "", wrong.get(name, (sound, sound))
        with contextlib.ExitStack() as stack:
            if name not in wrong:
                plain = stack.enter_context(_serving(bare, None))
                location = {
                    "redirect to http": f"http://127.0.0.1:{plain}",
                    "redirect to file": bare.parent.as_uri(),
                    "redirect to ext": f"ext::sh -c touch% {folder}/{OUTSIDE}",
                }[name]
            port = stack.enter_context(_serving(bare, certificate, location))
            done, said = add(number, f"https://127.0.0.1:{port}/theirs.git", trusted)
        ran = (folder / OUTSIDE).exists()
        told = "cannot be cloned" in said and "Traceback" not in said
        held = told and not done and not ran
        yield None if held else f"{name}: {'installed' * done} {'ran' * ran} {said[-200:]}"


AREAS = {"archives": archives, "https-clones": clones}
