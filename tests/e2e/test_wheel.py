"""The wheel of `make wheel`, installed into an environment of its own, in an empty folder."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest

from harness._version import __version__
from harness.settings import CODE_ROOT

SERVER = json.loads((CODE_ROOT / "server.json").read_text(encoding="utf-8"))


def run(*words: str | Path, **more):
    done = subprocess.run(words, text=True, capture_output=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an environment with the wheel, which sees the dependencies of this Python."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CODE_ROOT
    )
    for name in names.split("\0")[:-1]:
        if (CODE_ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CODE_ROOT / name, source / name)
    quiet = "--quiet", "--disable-pip-version-check", "--no-deps"
    pip = sys.executable, "-m", "pip"
    run(*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", folder, source)
    shutil.rmtree(source)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    [wheel] = folder.glob("*.whl")
    run(*pip, "--python", python, "install", *quiet, "--no-index", "--ignore-installed", wheel)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working folder; the harness keeps its files beside it."""
    for variable in ("HARNESS_DATA", "HARNESS_CONFIG"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.slow
def test_an_installed_wheel_annotates_in_an_empty_folder(installed, empty):
    abstract = shutil.copy(CODE_ROOT / "examples" / "abstract.txt", empty)
    nanda = installed / "bin" / "nanda"
    code = "import harness, skills.annotate.plugin as p; print(harness.__file__, p.__file__)"
    for path in run(installed / "bin" / "python", "-c", code, cwd=empty).split():
        assert Path(path).is_relative_to(installed)
    moves = json.loads(run(nanda, f"/annotate {Path(abstract).name}", cwd=empty))
    assert moves["claim"] != "Not stated."
    assert run(nanda, "--version", cwd=empty).strip() == __version__
    assert "_nanda()" in run(nanda, "completion", "bash", cwd=empty)
    assert "/annotate" in (installed / "share" / "man" / "man1" / "nanda.1").read_text()


@pytest.mark.slow
def test_an_installed_wheel_serves_the_demo(installed, empty):
    with subprocess.Popen(
        [installed / "bin" / "nanda", "/serve --demo --no-open"],
        cwd=empty,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as served:
        try:
            shown = ""
            while not (found := re.search(r"http://127\.0\.0\.1:\d+\S*", shown)):
                line = served.stdout.readline()
                assert line, shown
                shown += line
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with browser.open(found[0], timeout=60) as page:
                html = page.read().decode()
            assert "30" in html
            static = re.search(r'href="(/static/[^"]+\.css[^"]*)"', html)
            origin = re.match(r"http://[^/]+", found[0])[0]
            with browser.open(origin + static[1], timeout=60) as style:
                assert style.read()
        finally:
            served.terminate()


@pytest.mark.slow
def test_the_wheel_takes_all_files_but_the_training_data(installed):
    packages = next((installed / "lib").glob("python*/site-packages"))
    names = run("git", "ls-files", "-z", "harness", "skills", "models", cwd=CODE_ROOT)
    missing = {name for name in names.split("\0")[:-1] if not (packages / name).is_file()}
    folder = CODE_ROOT / "models" / "nanda-annotator"
    data = (path for glob in ("*.jsonl", "*.npz") for path in folder.glob(glob))
    assert missing == {path.relative_to(CODE_ROOT).as_posix() for path in data}


def test_the_entry_of_the_mcp_registry_names_this_package():
    assert SERVER["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert len(SERVER["description"]) <= 100
    [package] = SERVER["packages"]
    assert package["version"] == SERVER["version"] == __version__
    assert package["registryType"] == "pypi"
    assert package["transport"] == {"type": "stdio"}
    project = (CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nname = "{package["identifier"]}"\n' in project
    assert (
        f'\n{package["identifier"]} = "agent:main"\n' in project
    )  # uvx runs a script of this name
    assert [one["value"] for one in package["packageArguments"]] == ["mcp"]
    assert [one["value"] for one in package["runtimeArguments"]] == ["nanda-harness[mcp]"]
