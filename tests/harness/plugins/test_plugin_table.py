"""The table of the program's own plugins: what it holds is known without importing them."""

from pathlib import Path

from harness import Call, Result, Skill
from harness.agent_skills import skill_md
from harness.models.registry import ServeEntry
from harness.plugins import plugin_table
from harness.plugins.catalogue import Contributions, Found, FoundFramework
from harness.settings import CODE_ROOT
from harness.testing import FakeBackend, FakeModel


class Echo(Skill):
    name = "echo"
    summary = "Repeat a text"
    triggers = ("echo (?P<text>.+)",)

    def run(self, call: Call) -> Result:
        return Result(call.text)


FILE = skill_md.read(CODE_ROOT / "skills" / "annotate" / "SKILL.md", strict=True)


def test_a_plugin_is_imported_when_its_skill_or_backend_is_used():
    imported = []

    class Plugin:
        def register_skills(self, register):
            register(Echo())

        def register_backends(self, register, files):
            assert files == "files"
            register(FakeBackend(FakeModel()))

    def load():
        imported.append("plugin")
        return Plugin()

    registered = Contributions(
        [Found(Echo(), "built in", file=FILE)],
        [FakeBackend(FakeModel())],
        {"moves": FoundFramework(CODE_ROOT / "moves.yaml", "built in")},
    )
    row = plugin_table.row_of(registered, FILE)
    found = plugin_table.contributions(row, load, "files")
    [skill], [backend] = found.skills, found.backends
    assert (skill.name, skill.summary, skill.triggers) == ("echo", Echo.summary, Echo.triggers)
    assert (skill.file, found.frameworks) == (FILE, registered.frameworks)
    assert backend.name == "fake"
    assert imported == []
    assert isinstance(skill.skill, Echo)
    entry = ServeEntry(backend="fake", model="m")
    assert backend.probe(entry).available
    assert isinstance(backend.load(entry), FakeModel)
    assert imported == ["plugin", "plugin"]


def test_no_path_of_the_table_is_absolute():
    rows = plugin_table.read()["plugins"].values()
    paths = [path for row in rows for path in row["frameworks"].values()]
    paths += [row["file"]["path"] for row in rows if row["file"]]
    assert paths
    assert not any(Path(path).is_absolute() for path in paths)
