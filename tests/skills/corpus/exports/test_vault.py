"""The notes of a vault are made, found again and brought up to date; names are safe."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from hypothesis import example, given
from hypothesis import strategies as st

from harness.cli.app import App
from harness.errors import OutputError, UsageError
from harness.testing import FakeModel, fake_app
from skills.corpus.db.connection import default_path
from skills.corpus.exports import vault
from skills.corpus.exports.user_edited import MOST_BYTES, parse
from skills.corpus.exports.vault import file_name, key, unused
from skills.corpus.records import Annotated
from skills.nanda.framework import nanda


@dataclass
class Saving:
    """Saves annotations to a vault.

    Attributes:
        ticks: the progress that was reported.
    """

    folder: Path
    ticks: list[str] = field(default_factory=list)

    def __call__(self, *items: Annotated, force: bool = False) -> str:
        """Save the papers, and return what is reported."""
        given: Iterable[Annotated] = items
        return vault.save(
            self.folder, nanda(), lambda: iter(given), force=force, tick=self.ticks.append
        )

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """Return each note with the time of its last change."""
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.folder.rglob("*.md")
        }

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.md").read_bytes().decode()


@pytest.fixture
def save(tmp_path: Path) -> Saving:
    return Saving(tmp_path / "vault")


def of(number: int, claim: str = "", **known: Any) -> Annotated:
    """Return paper `number`, whose annotation states a claim alone, without a term of others."""
    claim = claim or f"Ledger{number} works."
    unstated = dict.fromkeys(nanda().names, nanda().not_stated)
    return annotated(paper(number, **known), **{**unstated, "claim": claim})


def test_a_note_per_paper_with_the_moves_as_properties(save: Saving) -> None:
    one = of(1, authors="Anna Müller, Bo Li", title='A "plan": repair?')
    assert save(one, of(2)) == f"{save.folder}: 2 notes made"
    assert parse(save.text("A plan repair")).values == {
        "nanda-id": "arxiv:2405.00001",
        "title": 'A "plan": repair?',
        "authors": ["Anna Müller", "Bo Li"],
        "year": "2024",
        "published": "2024-05-17",
        "categories": ["cs.CL", "cs.IR"],
        "arxiv": "2405.00001",
        "url": "https://arxiv.org/abs/2405.00001",
        "claim": "Ledger1 works.",
        "annotated-by": "annotator",
        "annotated-on": "2026-11-24",
    }
    assert "> [!abstract] Abstract" in save.text("Paper 2")


def test_authors_with_the_family_name_first(save: Saving) -> None:
    save(of(1, authors="Müller, Anna; Li, Bo"))
    assert parse(save.text("Paper 1")).values["authors"] == ["Müller, Anna", "Li, Bo"]


def test_a_move_of_a_section_names_the_section(save: Saving) -> None:
    item = of(1)
    found = {
        "section": "6 Limitations",
        "page": 8,
        "text": "Only mazes.",
        "source": "",
        "support": 1,
    }
    save(Annotated(item.paper, {**item.record, "sections": {"limitation": found}}))
    stated = parse(save.text("Paper 1")).values
    assert stated["limitation"] == "Only mazes. (section 6 Limitations, p. 8)"


def test_progress_of_many_papers(save: Saving) -> None:
    save(*map(of, range(1, 151)))
    assert save.ticks == ["0 of 150 notes", "100 of 150 notes"]


def test_a_second_run_touches_nothing(save: Saving) -> None:
    save(of(1), of(2))
    before = save.contents()
    assert save(of(1), of(2)) == f"{save.folder}: 2 notes unchanged"
    assert save.contents() == before


def test_what_a_person_wrote_is_kept(save: Saving) -> None:
    save(of(1), of(2))
    path = save.folder / "Paper 1.md"
    text = path.read_text().replace("---\n%%", "tags: [read]\nrating: 4\n---\n# My head\n\n%%")
    path.write_text(f"{text}\nMy thoughts on [[Paper 2]].\n")
    assert save(of(1, claim="They find all faults."), of(2)).endswith(
        "1 note updated; 1 note unchanged"
    )
    after = save.text("Paper 1")
    assert after.endswith("\nMy thoughts on [[Paper 2]].\n")
    assert "# My head\n" in after
    assert parse(after).values["tags"] == ["read"]
    assert parse(after).values["rating"] == "4"
    assert parse(after).values["claim"] == "They find all faults."


def test_a_person_may_correct_a_move(save: Saving) -> None:
    save(of(1))
    path = save.folder / "Paper 1.md"
    path.write_text(path.read_text().replace("Ledger1 works.", "Ledger1 works well."))
    before = save.contents()
    assert save(of(1)).endswith("1 note unchanged")
    assert "1 note kept, since you have changed what was written" in save(of(1, claim="New."))
    assert save.contents() == before
    assert save(of(1, claim="New."), force=True).endswith("1 note updated")
    assert parse(save.text("Paper 1")).values["claim"] == "New."


def test_a_note_that_was_renamed_and_moved_is_found(save: Saving) -> None:
    save(of(1), of(2))
    (save.folder / "Read").mkdir()
    (save.folder / "Paper 1.md").rename(save.folder / "Read" / "Ledgers.md")
    assert save(of(1), of(2)).endswith("2 notes unchanged")
    save(of(1, claim="New."), of(2))
    assert sorted(save.contents()) == ["Paper 2.md", "Read/Ledgers.md"]
    assert parse(save.text("Read/Ledgers")).values["claim"] == "New."


def test_a_paper_that_is_not_selected_is_kept_and_named(save: Saving) -> None:
    save(of(1), of(2))
    before = save.contents()
    report = save(of(2), of(3))
    assert report.endswith('1 note kept of papers that are not among these: "Paper 1"')
    assert before.items() <= save.contents().items()


def test_papers_of_one_name_have_a_note_each(save: Saving) -> None:
    same = [of(n, title=title) for n, title in enumerate(("On Plans", "on plans?", "ON PLANS"))]
    save(*same)
    names = ["ON PLANS (2405.00002).md", "On Plans.md", "on plans (2405.00001).md"]
    assert sorted(save.contents()) == names
    assert save(*same).endswith("3 notes unchanged")


def test_of_several_abstracts_of_a_paper_the_last_has_the_note(save: Saving) -> None:
    rewritten = of(1, claim="New.", abstract="A text that was rewritten. It has two sentences.")
    report = save(of(1, claim="Old."), rewritten)
    assert report.endswith("1 note made; 1 note left out, of an earlier abstract of the same paper")
    assert parse(save.text("Paper 1")).values["claim"] == "New."
    save(of(1, claim="Old."), rewritten)
    assert parse(save.text("Paper 1")).values["claim"] == "New."


def test_a_note_of_a_person_is_not_overwritten(save: Saving) -> None:
    save.folder.mkdir()
    (save.folder / ".obsidian").mkdir()
    (save.folder / "paper 1.md").write_text("mine")
    save(of(1))
    assert save.text("paper 1") == "mine"
    assert len(save.contents()) == 2


def test_the_same_number_of_another_table_is_another_paper(save: Saving) -> None:
    def row(title: str) -> Annotated:
        return of(7, title=title, id_field="paper_id", abstract=f"We study {title} here at last.")

    save(row("Ledgers"))
    save(row("Ladders"))
    assert sorted(save.contents()) == ["Ladders.md", "Ledgers.md"]


def test_a_paper_of_another_source_is_found_by_its_doi(save: Saving) -> None:
    def known(paper_id: str, title: str, doi: str = "10.1234/x") -> Annotated:
        item = of(1, title=title, id_field="paper_id")
        source = {"kind": "table", "doi": doi}
        return Annotated(
            type(item.paper)("paper_id", paper_id, title, item.paper.abstract, source), item.record
        )

    save(known("muller2024", "Ledgers find faults"))
    assert save(known("10.1234/x", "Ledgers Find Faults.")).endswith("1 note updated")
    save(known("chapter2", "A chapter on the growth of maize"))
    assert len(save.contents()) == 2


def test_a_folder_with_other_things_is_refused(save: Saving) -> None:
    save.folder.mkdir()
    (save.folder / "thesis.docx").write_text("")
    with pytest.raises(UsageError, match="neither empty nor an Obsidian vault"):
        save(of(1))
    assert not save.contents()
    save(of(1), force=True)
    assert save(of(1)).endswith("1 note unchanged")


def test_a_folder_in_a_vault_is_one(save: Saving) -> None:
    (save.folder.parent / ".obsidian").mkdir()
    save.folder.mkdir()
    (save.folder / "old.md").write_text("")
    (save.folder.parent / "Paper 1.md").write_text("mine, above")
    save(of(1))
    assert sorted(save.contents()) == ["Paper 1 (2405.00001).md", "old.md"]


def test_papers_that_are_not_selected_in_a_folder_of_a_vault(
    save: Saving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".obsidian").mkdir()
    save(of(3))
    save.folder = Path("papers")
    save(of(1), of(2))
    assert save(of(1)) == (
        'papers: 1 note unchanged; 1 note kept of papers that are not among these: "Paper 2"'
    )


def test_what_is_no_file_is_passed_over(save: Saving) -> None:
    save(of(1))
    os.mkfifo(save.folder / "pipe.md")
    (save.folder / "link.md").symlink_to("nowhere")
    (save.folder / "Paper 2.md").mkdir()
    assert save(of(1)).endswith("1 note unchanged")
    (save.folder / "latin.md").write_bytes(b'---\nnanda-id: "arxiv:2405.00003"\n---\nM\xfcller')
    assert 'since the text or the properties cannot be read: "latin"' in save(of(3))


def test_a_note_that_is_too_large_is_named_and_kept(save: Saving) -> None:
    save(of(1))
    path = save.folder / "Paper 1.md"
    path.write_text(path.read_text() + "Mine. " * (MOST_BYTES // 6))
    before = save.contents()
    assert 'cannot be read: "Paper 1"' in save(of(1, claim="New."), force=True)
    assert save.contents() == before


def test_broken_properties_are_named_and_kept(save: Saving) -> None:
    save(of(1))
    path = save.folder / "Paper 1.md"
    path.write_text(path.read_text().replace("title:", "title: [\ntitle:"))
    before = save.contents()
    assert 'since the text or the properties cannot be read: "Paper 1"' in save(of(1, claim="New."))
    assert save.contents() == before


def test_papers_that_share_a_term_are_linked(save: Saving) -> None:
    save(
        of(1, claim="A plan repair ledger helps.", title="Ledgers"),
        of(2, claim="We test plan repairs of LoRA.", title="Repairs"),
        of(3, claim="Nothing in common."),
    )
    assert "- [[Repairs]]: plan repair\n" in save.text("Ledgers")
    assert "- [[Ledgers]]: plan repairs\n" in save.text("Repairs")
    assert "[[" not in save.text("Paper 3")


def test_links_follow_a_note_that_was_renamed(save: Saving) -> None:
    items = [of(n, claim="A plan repair ledger.", title=name) for n, name in ((1, "A"), (2, "B"))]
    save(*items)
    (save.folder / "A.md").rename(save.folder / "Better.md")
    assert save(*items).endswith("1 note updated; 1 note unchanged")
    assert "[[Better]]" in save.text("B")


ABSTRACT = "A planner that waits for the market to open. " * 3
MOVES = json.dumps({name: f"A planner that waits {name}." for name in nanda().names})


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.chdir(tmp_path)
    rows = ["id,title,abstract"]
    rows += [
        f"{n},Paper {n},{'A planner that waits for the market to open. ' * 3}{n}" for n in "ab"
    ]
    Path("papers.csv").write_text("\n".join(rows))
    return fake_app(tmp_path, FakeModel(MOVES))


def reported(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined]


def test_a_table_twice_with_an_edit_in_between(app: App) -> None:
    line = "/annotate papers.csv save to vault/"
    assert app.dispatch(line).saved == (Path("vault"),)
    note = Path("vault/Paper a.md")
    text = note.read_text().replace("---\n%%", "rating: 5\n---\n%%") + "\nMine.\n"
    note.write_text(text)
    os.utime(note, ns=(1, 1))
    app.dispatch(line)
    assert note.read_text() == text
    assert note.stat().st_mtime_ns == 1
    assert "vault: 2 notes unchanged" in reported(app)


@pytest.mark.parametrize("text", [ABSTRACT, "waiting planners --source corpus --relevance 0"])
def test_one_paper_and_a_topic(app: App, text: str) -> None:
    app.dispatch("/annotate papers.csv")
    app.dispatch(f"/annotate {text} save to one.vault")
    assert list(Path("one.vault").glob("*.md"))


@pytest.mark.parametrize(
    "line", ["export my.vault", "export new/", "filter claim=stated save to a/"]
)
def test_the_corpus(app: App, line: str) -> None:
    corpus_of(default_path(app.settings), [annotated(paper(1)), annotated(paper(2))])
    [folder] = app.dispatch(f"/corpus {line}").saved
    assert sorted(path.name for path in folder.iterdir()) == ["Paper 1.md", "Paper 2.md"]


@pytest.mark.parametrize(
    ("target", "error", "problem"),
    [
        ("other/", UsageError, "neither empty nor an Obsidian vault"),
        ("vault", UsageError, r"a name without a suffix.*FOLDER/, NAME\.vault/"),
        ("papers.csv/vault/", OutputError, "there is no folder"),
    ],
)
def test_lines_that_are_refused_before_the_model(
    app: App, target: str, error: type[Exception], problem: str
) -> None:
    Path("other").mkdir()
    Path("other/thesis.docx").write_text("")
    with pytest.raises(error, match=problem):
        app.dispatch(f"/annotate papers.csv save to {target}")
    assert not default_path(app.settings).exists()


def test_parts_are_of_a_table(app: App) -> None:
    with pytest.raises(UsageError, match="only the annotations of a table"):
        app.dispatch(f"/annotate {ABSTRACT} save to all.parts")
    app.dispatch("/annotate papers.csv save to all.parts")
    assert list(Path("all.parts").glob("part-*.parquet"))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Über Größe: a/b\\c?", "Über Größe a b c"),
        ("[[Link|alias]] #tag ^block", "Link alias tag block"),
        ("..hidden. ", "hidden"),
        ("CON", "CON (paper)"),
        ("lpt1.txt", "lpt1.txt (paper)"),
        ("U\u0308ber", "Über"),
        ("a\nb\u200b\u202ec", "a bc"),
        ("???", "12"),
        ("%%x%%", "x"),
    ],
)
def test_names(title: str, name: str) -> None:
    assert file_name(title, "12") == name


@given(st.text(min_size=1), st.text())
@example("\U00010000" * 60, "\U00010000" * 60)  # four bytes each in UTF-8
def test_any_title_is_a_name(title: str, paper_id: str) -> None:
    name = file_name(title, paper_id)
    assert name == name.strip(" .")
    assert name
    assert not re.search(r'[\\/:*?"<>|#^\[\]\x00-\x1f]', name)
    assert len(unused(name, paper_id, {key(name)}).encode()) <= 250
    assert len(name) <= 128


@given(st.lists(st.sampled_from(["Plan", "PLAN", "plan", "Pla\u0301n", "Pl\u00e1n"]), max_size=9))
def test_no_two_names_are_the_same_file(names: list[str]) -> None:
    taken: set[str] = set()
    made = [unused(name, "7", taken) for name in names]
    assert len({key(name) for name in made}) == len(names)
    assert made[:1] == names[:1]


def test_a_long_title_is_cut_at_a_word() -> None:
    name = file_name("planning " * 40, "1")
    assert name == " ".join(["planning"] * 13)
    assert len(file_name("计划" * 200, "1").encode()) <= 200
