"""Sources of skills: folders, git repositories, and a host with an index."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess

from local_http import Handler, local_server

from harness.plugins import skill_index

TEXT = "---\nname: {name}\ndescription: Greets people.\nallowed-tools: Bash(ls)\n---\nGreet.\n"


def skill(folder, name="greet"):
    """Create a prompt skill with a script in `folder`."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "SKILL.md").write_text(TEXT.format(name=name))
    script = folder / "scripts" / "run.sh"
    script.write_text("#!/bin/sh\ntouch ran\n")
    script.chmod(0o755)
    return folder


def git(folder, *words):
    person = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    safe = ["-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *person, *safe, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(folder):
    """Make a repository of the folder and return its only commit."""
    git(folder, "init", "--quiet", ".")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    return git(folder, "rev-parse", "HEAD")


def own(tmp_path):
    return tmp_path / "config" / "skills"


def left(tmp_path):
    """The names of all that is in the user's folder, hidden folders included."""
    return sorted(path.name for path in own(tmp_path).iterdir()) if own(tmp_path).exists() else []


@contextlib.contextmanager
def published(files, *skills, **index):
    """Serve an index and files by path; yield the address of the host and the requested paths."""
    requested = []

    class Host(Handler):
        def do_GET(self):
            requested.append(self.path)
            found = files.get(self.path, (404, b"", {}))
            if isinstance(found, bytes):
                found = 200, found, {}
            self.send(*found)

    entries = []
    for name, path, *digest in skills:
        content = files.get(path, b"")
        content = content if isinstance(content, bytes) else b""
        entry = {"name": name, "type": "skill-md" if path.endswith(".md") else "archive"}
        stated = digest[0] if digest else hashlib.sha256(content).hexdigest()
        entries.append({**entry, "description": "x", "url": path, "digest": f"sha256:{stated}"})
    content = {"$schema": skill_index.SCHEMA, "skills": entries, "more": 1} | index
    files.setdefault(skill_index.PATH, json.dumps(content).encode())
    with local_server(Host) as port:
        yield f"http://127.0.0.1:{port}", requested
