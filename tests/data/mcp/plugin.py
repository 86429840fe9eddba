"""A skill that declares impact, output and documents: the example of docs/mcp.md."""

from pathlib import Path

from pydantic import BaseModel

from harness import Document, DocumentSource, NothingFound, Result, Skill, hookimpl


class Counted(BaseModel):
    notes: int


class Notes(Skill, DocumentSource):
    name = "notes"
    summary = "Keep notes in the folder notes/"
    text = "optional"
    subcommands = {"count": "count the notes", "add": "add a note"}
    impact = {"": "reads", "add": "adds"}
    output = Counted
    document_type = "text/plain"

    def run(self, call):
        folder = call.settings.project_dir / "notes"
        folder.mkdir(exist_ok=True)
        if call.subcommand == "add":
            folder.joinpath(f"{len(_keys(folder)) + 1:04}.txt").write_text(call.text)
        call.screen.report(1, 1, "counting")
        return Result(str(len(_keys(folder))), {"notes": len(_keys(folder))})

    def documents(self, settings, after, most):
        keys = [key for key in _keys(settings.project_dir / "notes") if key > after]
        return [Document(key, f"note {key}") for key in keys[:most]]

    def document(self, settings, key):
        folder = settings.project_dir / "notes"
        if key not in _keys(folder):
            raise NothingFound(f"there is no note {key}")
        return folder.joinpath(f"{key}.txt").read_text()


def _keys(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.txt"))


@hookimpl
def register_skills(register):
    register(Notes())
