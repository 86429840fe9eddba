"""Read the index of the skills that a host publishes; download, verify and unpack skills.

The format is Agent Skills Discovery 0.2.0. For each skill, the index contains the address and the
digest of a SKILL.md or of an archive. An archive has the files of the skill at its root.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.agent_skills import skill_md
from harness.agent_skills.skill_file import FILE, NAME
from harness.errors import InputError, UsageError, first_error
from harness.models.backends.remote import is_local
from harness.support.bounded_http import BODY, IDENTITY, Meter, limit_response, other_host
from harness.support.calls import Overdue, within

if TYPE_CHECKING:
    import httpx

PATH = "/.well-known/agent-skills/index.json"
SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"
"""The supported version of an index. The address is an identifier, and is never requested."""
SECONDS = 60.0
"""Time limit of a download in seconds."""
ARCHIVE_BYTES = 10_000_000
"""Maximum size in bytes of a downloaded SKILL.md or archive."""
_ADDRESS = re.compile(rf"(https?://[^/\s?#]+)(?:/|{re.escape(PATH)})?")
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError),
    # raised for an encrypted archive, an unknown compression, or an entry without a name
    *(RuntimeError, NotImplementedError, ValueError, IndexError),
)


class Published(BaseModel):
    """An entry of an index, which describes a skill; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(pattern=rf"^{NAME.pattern}$", max_length=skill_md.LIMITS["name"])
    type: Literal["skill-md", "archive"]
    url: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


def address_of(given: str) -> str:
    """Return the address of a host's index, or "" if `given` is not the address of a host.

    Raises:
        UsageError: the scheme is http, and the host is not this machine.
    """
    match = _ADDRESS.fullmatch(given)
    if match is None:
        return ""
    if not given.startswith("https:") and not is_local(given):
        raise UsageError("an index of skills is read over https only", where=given)
    return match[1] + PATH


def read(address: str) -> tuple[dict[str, Published], list[str]]:
    """Return the skills of an index by name, and a remark for each entry that cannot be used.

    Raises:
        InputError: the index cannot be downloaded, is not JSON, has another version, or contains
            no usable skill.
        TooLong: the index exceeds its limit.
    """
    try:
        content = json.loads(_downloaded(address, BODY))
    except (ValueError, RecursionError) as exc:
        raise InputError("the index is not JSON", where=address) from exc
    schema = content.get("$schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        shown = f"of the unknown version {schema!r:.100}" if schema else "without a $schema"
        hint = f"Only version {SCHEMA} is supported."
        raise InputError(f"it is an index {shown}, which is not read", where=address, hint=hint)
    found: dict[str, Published] = {}
    remarks = []
    entries = content.get("skills")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        try:
            skill = Published.model_validate(entry)
            found.setdefault(skill.name, skill)
        except ValidationError as exc:
            reason = first_error(exc, "skills", number)
            remarks.append(f"{address}: a skill is left out: {reason}")
    if not found:
        raise InputError("the index has no usable skill", where=remarks[0] if remarks else address)
    return found, remarks


def download(skill: Published, address: str, folder: Path, files: int, size: int) -> None:
    """Download a skill of the index at `address` into a new folder.

    Args:
        files: maximum number of entries of an archive.
        size: maximum size of all entries of an archive together, in bytes.

    Raises:
        InputError: the skill cannot be downloaded, differs from the index in its digest or name, or
            has an archive that `unpack` refuses.
        UsageError: the SKILL.md of the skill cannot be used.
        TooLong: the download exceeds its limit.
    """
    import httpx

    base = httpx.URL(address)
    try:
        url = base.join(skill.url)
    except httpx.InvalidURL as exc:
        raise InputError(f"the address of {skill.name} is not valid: {exc}", where=address) from exc
    if url.scheme != "https" and (url.scheme, url.netloc) != (base.scheme, base.netloc):
        raise InputError(f"the address of {skill.name} is not https", where=str(url))
    content = _downloaded(str(url), ARCHIVE_BYTES)
    if (digest := f"sha256:{hashlib.sha256(content).hexdigest()}") != skill.digest:
        reason = f"{skill.name} has the digest {digest}, and the index states {skill.digest}"
        raise InputError(reason, where=str(url), hint="The skill is not installed.")
    folder.mkdir()
    file = folder / FILE
    if skill.type == "skill-md":
        file.write_bytes(content)
    else:
        unpack(content, folder, str(url), files, size)
        if not file.is_file():
            raise InputError(f"the archive has no {FILE} at its root", where=str(url))
    if (name := skill_md.read(file).name) != skill.name:
        reason = f"the index names the skill {skill.name}, and its {FILE} {name}"
        raise InputError(reason, where=str(url))


def unpack(content: bytes, folder: Path, shown: str, files: int, size: int) -> None:
    """Unpack a .zip or .tar.gz file into a folder.

    Args:
        shown: the name of the archive, for messages.
        files: maximum number of entries.
        size: maximum size of all entries together, in bytes.

    Raises:
        InputError: the archive cannot be read, exceeds a limit, or contains a path that leads out
            of the folder, a link (in a .zip file) or a device (in a .tar.gz file). The message
            names the entry, if there is one.
    """
    name, left = "", size
    members = _in_zip if content.startswith(b"PK") else _in_tar
    try:
        for number, (name, length, extract) in enumerate(members(content, folder, files, size)):
            path = PureWindowsPath(name)  # recognizes both path separators, and drives
            if path.drive or path.root or ".." in path.parts:
                raise InputError("leads out of the archive", where=f"{shown}: {name}")
            left -= length
            if left < 0 or number >= files:
                limit = f"{size / 1e6:g} MB" if left < 0 else f"{files:,} entries"
                raise InputError(f"the archive has more than {limit}", where=f"{shown}: {name}")
            extract()
    except _UNREADABLE as exc:
        raise InputError(f"cannot be unpacked: {exc}", where=f"{shown}: {name}") from exc


Member = tuple[str, int, Callable[[], object]]
"""The name and the size of an entry of an archive, and the function that extracts the entry."""


def _in_zip(content: bytes, folder: Path, files: int, size: int) -> Iterator[Member]:
    # The entries are counted before they are parsed, since a parsed entry needs 1,000 bytes of
    # memory. The limit is doubled, since the signature of an entry may also occur in compressed
    # data.
    if content.count(b"PK\1\2") > 2 * files:
        raise zipfile.BadZipFile(f"it has more than {files:,} entries")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            yield entry.filename, entry.file_size, partial(_extract, archive, entry, folder)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Extract a file or folder, and keep a file's permission to execute.

    Raises:
        BadZipFile: the entry is a link, which zipfile would write as a text file.
    """
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise zipfile.BadZipFile("it is a link")
    path = Path(archive.extract(entry, folder))
    if mode & stat.S_IXUSR and path.is_file():
        path.chmod(0o755)


def _in_tar(content: bytes, folder: Path, files: int, size: int) -> Iterator[Member]:
    most = size + 2048 * files  # each entry has headers, and is padded to a multiple of 512 bytes
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as compressed:
        plain = compressed.read(most + 1)
    if len(plain) > most:
        raise tarfile.TarError(f"it has more than {size / 1e6:g} MB")
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        for entry in archive:
            yield entry.name, entry.size, partial(archive.extract, entry, folder, filter="data")


def _downloaded(address: str, most: int) -> bytes:
    """Download and return the content of an address.

    Raises:
        InputError: the content cannot be downloaded, or the address redirects to another host.
        TooLong: the content has more than `most` bytes.
    """
    import httpx

    shown = httpx.URL(address).copy_with(userinfo=b"")

    def limit(response: httpx.Response) -> None:
        if other := other_host(response):
            raise InputError(f"redirects to {other}, which is not followed", where=str(shown))
        limit_response(response, Meter(shown.host, most))

    def get() -> httpx.Response:
        with httpx.Client(
            event_hooks={"response": [limit]},
            follow_redirects=True,
            headers=IDENTITY,
            timeout=SECONDS,
            trust_env=not is_local(address),
        ) as client:
            return client.get(address)

    try:
        response = within(SECONDS, get, f"downloading {shown}")
    except Overdue as exc:
        raise InputError(f"the download was {exc}", where=str(shown)) from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise InputError(f"cannot be downloaded: {exc}", where=str(shown)) from exc
    if response.is_error:
        reason = f"cannot be downloaded: the server answers {response.status_code}"
        raise InputError(reason, where=str(shown))
    return response.content
