"""Tests of /release-notes with a scripted model, which calls the tools."""

import shutil
from pathlib import Path

from harness import Frontend
from harness.testing import FakeModel, calling, fake_app, tool_call


def test_the_model_reads_the_log_once_the_user_allows_it(tmp_path: Path) -> None:
    shutil.copytree("skills/release-notes", tmp_path / "config" / "skills" / "release-notes")
    (tmp_path / "CHANGELOG.md").write_text("## 1.2\n\n- Faster.\n")
    model = FakeModel(
        calling(tool_call("read_file", path="CHANGELOG.md")),
        calling(tool_call("run", command="echo a1b2c3 Add a cache")),
        "- Pages load faster.",
        takes_tools=True,
    )
    asked = []
    user = Frontend("test", confirm=lambda question: not asked.append(question))
    outcome = fake_app(tmp_path, model).dispatch("/release-notes for users", frontend=user)

    assert outcome.result.text == "- Pages load faster."
    assert "git log --oneline" in model.requests[0].messages[0].content
    changelog, log = [m.content for m in model.requests[-1].messages if m.role == "tool"]
    assert "Faster." in changelog
    assert "a1b2c3 Add a cache" in log
    assert len(asked) == 1  # only the command needs consent; the files of the project do not
