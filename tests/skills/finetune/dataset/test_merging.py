"""Building a training set: precedence, duplicates, held-out papers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from finetune_tables import Row, abstract, row, rows, table
from repository import SHARED

from harness.errors import InputError
from harness.models.backend import Message
from skills.corpus.table import Columns
from skills.corpus.tables.parquet_files import parquet_schema, write_parquet
from skills.corpus.tables.text_tables import write_jsonl
from skills.finetune.build_finetune_from_annotations import (
    Choices,
    Dataset,
    Reading,
    build_dataset,
    chat_messages,
    format_annotation_output,
    format_annotation_prompt,
    format_annotation_system,
)
from skills.finetune.dataset.annotated_rows import SOURCES, WHYS, read_annotations
from skills.finetune.dataset.dataset_options import MAX_SIMILARITY
from skills.finetune.dataset.merging import AbstractIndex, merge
from skills.nanda.framework import Framework, nanda
from skills.nanda.generated_forms import TaggedForm
from skills.nanda.paper import Paper

GOLD, AGENT, CURATED = range(718), range(718, 718 + 2400), range(718, 718 + 1680)
Make = Callable[[str, Iterable[Mapping[str, str]]], Path]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """718 gold rows and 2,400 disjoint agent rows; the panel accepted 70% of them."""
    folder = tmp_path_factory.mktemp("lesson")
    return {
        "gold": table(folder / "gold.csv", rows(GOLD)),
        "agent": table(folder / "agent.csv", rows(AGENT, "agent")),
        "curated": table(folder / "curated.csv", rows(CURATED, "curated")),
    }


@pytest.fixture
def made(tmp_path: Path) -> Make:
    return lambda name, content: table(tmp_path / f"{name}.csv", content)


def written(dataset: Dataset) -> dict[str, int]:
    """Return the rows of each source, after checking that every row read is accounted for."""
    for source in SOURCES:
        counts = dict(dataset.counts[source])
        assert counts.pop("read") == sum(counts.values())
    assert len(list(dataset.lines())) == len(dataset.rows)
    return {source: dataset.counts[source]["written"] for source in SOURCES}


def left(dataset: Dataset, why: str) -> list[dict[str, Any]]:
    return [each.as_dict() for each in dataset.left_out if each.why == why]


def ids(dataset: Dataset) -> list[str]:
    return [example["id"] for example in dataset.examples()]


def test_718_gold_and_2400_agent_rows_are_3118(lesson: dict[str, Path]) -> None:
    dataset = build_dataset(lesson["gold"], lesson["agent"])
    assert len(dataset.rows) == 3118
    assert written(dataset) == {"gold": 718, "curated": 0, "agent": 2400}
    assert not dataset.left_out


def test_curated_alone_with_30_per_cent_rejected_they_are_2398(lesson: dict[str, Path]) -> None:
    dataset = build_dataset(*lesson.values(), curated_only=True)
    assert len(dataset.rows) == 2398
    assert written(dataset) == {"gold": 718, "curated": 1680, "agent": 0}
    assert dataset.counts["agent"] == {
        **dict.fromkeys(WHYS, 0),
        "read": 2400,
        "overridden": 1680,
        "not_curated": 720,
        "written": 0,
    }


def test_rows_of_the_agent_that_curated_lacks_stay_otherwise(lesson: dict[str, Path]) -> None:
    dataset = build_dataset(*lesson.values())
    assert written(dataset) == {"gold": 718, "curated": 1680, "agent": 720}


def test_gold_overrides_both_and_curated_the_agent(made: Make) -> None:
    dataset = build_dataset(
        made("gold", rows(range(10))),
        made("agent", rows(range(5, 30), "agent")),
        made("curated", rows(range(8, 20), "curated")),
    )
    assert written(dataset) == {"gold": 10, "curated": 10, "agent": 10}
    lines = [example["completion"].splitlines()[1] for example in dataset.examples()]
    assert lines == [
        *(f"Claim: The claim that gold saw in {n}." for n in range(10)),
        *(f"Claim: The claim that curated saw in {n}." for n in range(10, 20)),
        *(f"Claim: The claim that agent saw in {n}." for n in range(20, 30)),
    ]


def test_a_paper_is_known_by_its_arxiv_id_however_it_is_written(made: Make) -> None:
    address = "https://arxiv.org/abs/2401.00001v3"
    dataset = build_dataset(
        made("gold", [row(0)]), made("agent", [row(0, "agent", arxiv_id=address, abstract="New.")])
    )
    assert written(dataset) == {"gold": 1, "curated": 0, "agent": 0}
    [over] = left(dataset, "overridden")
    assert (over["reason"], over["of"]) == (
        "gold has the paper with another abstract",
        "2401.00001",
    )


def test_else_by_its_paper_id_and_else_by_its_abstract(made: Make) -> None:
    def without_id(each: Row, **id_column: str) -> Row:
        del each["arxiv_id"]
        return {**id_column, **each}

    gold = made("gold", [without_id(row(n), paper_id=f"cs-{n}") for n in range(3)])
    agent = made("agent", [without_id(row(n, "agent"), paper_id=f"cs-{n}") for n in range(2, 4)])
    dataset = build_dataset(gold, agent)
    assert ids(dataset) == ["cs-0", "cs-1", "cs-2", "cs-3"]
    assert {example["id_field"] for example in dataset.examples()} == {"paper_id"}
    nameless = build_dataset(None, made("nameless", [without_id(row(n)) for n in (1, 1, 2)]))
    assert [example["id_field"] for example in nameless.examples()] == ["id", "id"]
    assert [each["reason"] for each in left(nameless, "repeated")] == [
        "the same row occurs earlier"
    ]


def test_a_row_says_where_it_comes_from_and_what_it_counts(made: Make) -> None:
    dataset = build_dataset(
        made("gold", [row(0)]),
        made("agent", [row(2, "agent")]),
        made("curated", [row(1, "curated")]),
    )
    first, *others = dataset.examples()
    assert list(first) == [
        *("prompt", "completion", "system", "id", "id_field", "source", "weight", "sha256")
    ]
    assert (first["prompt"], first["id"]) == (abstract(0), "2401.00001")
    assert first["sha256"] == Paper("id", "", "", abstract(0)).sha256
    assert [(each["source"], each["weight"]) for each in (first, *others)] == [
        ("gold", 1.0),
        ("curated", 0.75),
        ("agent", 0.5),
    ]
    own = Choices(weights={"gold": 2.0, "curated": 1.0, "agent": 1.0})
    [again] = build_dataset(made("gold", [row(0)]), None, choices=own).examples()
    assert again["weight"] == 2.0


def test_rows_with_rare_moves_have_more_weight(made: Make) -> None:
    states = {"limitation": "It is slow."}
    table = made("gold", [*rows(range(3)), row(3, **states)])
    plain = build_dataset(table, None)
    assert plain.rare == {"limitation": 1}
    assert {each["weight"] for each in plain.examples()} == {1.0}
    times = build_dataset(table, None, choices=Choices(rare_weight=3))
    assert [each["weight"] for each in times.examples()] == [1, 1, 1, 3]
    half = made("half", [row(0), row(1, **states)])
    assert build_dataset(half, None, choices=Choices(rare_weight=3)).rare == {}


def test_first_row_wins_across_tables_of_a_source(made: Make) -> None:
    dataset = build_dataset(
        [made("one", rows(range(3))), made("two", rows(range(2, 5), "another"))], None
    )
    assert written(dataset)["gold"] == 5
    [twice] = left(dataset, "repeated")
    assert twice["reason"] == "the paper occurs earlier, with other moves"
    assert twice["where"].endswith("two.csv, line 2")
    assert twice["of_where"].endswith("one.csv, line 4")


def test_invalid_rows_are_listed_with_place_and_reason(made: Make) -> None:
    wrong = [
        row(1, claim="  ", scope=""),
        row(2, abstract=""),
        row(3, method="x" * 481),
        row(4, method="x" * 480),
        row(5, novelty="a </ b"),
    ]
    dataset = build_dataset(made("gold", [row(0), *wrong]), None)
    assert ids(dataset) == [row(0)["arxiv_id"], row(4)["arxiv_id"]]
    assert [(each["where"][-6:], each["reason"]) for each in left(dataset, "rejected")] == [
        ("line 3", "claim is empty; scope is empty"),
        ("line 4", "has no abstract"),
        ("line 5", "method is longer than 480 characters"),
        ("line 7", "novelty does not fit on one line of a tagged completion"),
    ]
    assert all("gold.csv" in each["where"] for each in left(dataset, "rejected"))
    assert written(dataset)["gold"] == 2


def test_a_row_that_cannot_be_read_is_rejected(made: Make) -> None:
    dataset = build_dataset(made("t", [row(0), row(0, abstract="Another one."), row(1)]), None)
    assert len(dataset.rows) == 2
    [rejected] = left(dataset, "rejected")
    assert rejected["where"].endswith("t.csv, line 3")
    assert "has the id 2401.00001 of line 2, but another abstract" in rejected["reason"]


def test_rejected_row_leaves_its_paper_to_the_next_source(made: Make) -> None:
    dataset = build_dataset(made("gold", [row(0, claim="")]), made("agent", [row(0, "agent")]))
    assert written(dataset) == {"gold": 0, "curated": 0, "agent": 1}
    again = build_dataset(made("twice", [row(0, claim=""), row(0)]), None)
    assert written(again)["gold"] == 1


def test_of_nearly_identical_abstracts_gold_is_kept(made: Make) -> None:
    text = abstract(7, words=100)
    changed = text.replace(text.split()[50], "other", 1)
    dataset = build_dataset(
        made("gold", [row(0, abstract=text), row(1, abstract=abstract(7, words=30))]),
        made("agent", [row(2, "agent", abstract=changed), row(3, abstract=text.upper())]),
        made("curated", [row(4, abstract=text.replace(" ", "\n"))]),
    )
    assert written(dataset) == {"gold": 2, "curated": 0, "agent": 0}
    found = left(dataset, "near_duplicate")
    assert [each["id"][-1] for each in found] == ["5", "3", "4"]
    assert {each["of"] for each in found} == {row(0)["arxiv_id"]}
    assert [each["similarity"] for each in found] == [1.0, found[1]["similarity"], 1.0]
    assert 0.9 < found[1]["similarity"] < 1
    assert [each["reason"] for each in found] == [
        "another paper has the same abstract",
        "another paper has nearly the same abstract",
        "another paper has nearly the same abstract",
    ]


def test_abstracts_without_words_match_only_exactly(made: Make) -> None:
    signs = [row(0, abstract="..."), row(1, abstract="!?"), row(2, abstract="...")]
    dataset = build_dataset(made("gold", signs), None)
    assert [each["id"] for each in left(dataset, "near_duplicate")] == [row(2)["arxiv_id"]]


def test_max_similarity_can_be_set(made: Make) -> None:
    text = abstract(7, words=100)
    changed = text.replace(text.split()[50], "other", 1)
    gold = made("gold", [row(0, abstract=text), row(1, abstract=changed)])
    assert len(build_dataset(gold, None).rows) == 1
    assert len(build_dataset(gold, None, choices=Choices(max_similarity=0.95)).rows) == 2
    loud = made("loud", [row(0, abstract=text), row(1, abstract=text.upper())])
    assert len(build_dataset(loud, None, choices=Choices(max_similarity=1)).rows) == 2


def test_the_same_tables_give_the_same_bytes(made: Make) -> None:
    tables = made("gold", rows(range(5))), made("agent", rows(range(9, 2, -1), "agent"))
    one, other = build_dataset(*tables), build_dataset(*tables)
    assert b"".join(one.lines()) == b"".join(other.lines())
    assert one.sha256 == other.sha256
    assert [each[-1] for each in ids(one)] == ["1", "2", "3", "4", "5", "0", "9", "8", "7", "6"]


def test_entries_and_tables_give_the_same_data_set(made: Make) -> None:
    gold, agent = made("gold", rows(range(3))), made("agent", rows(range(2, 9), "agent"))
    curated = made("curated", rows(range(2, 6), "curated"))
    choices = Choices(curated_only=True)
    in_hand = merge(
        {
            "gold": read_annotations([gold], Reading()),
            "agent": read_annotations([agent], Reading()),
            "curated": read_annotations([curated], Reading()),
        },
        {"gold": [gold], "agent": [agent]},
        [row(1)["arxiv_id"]],
        [],
        choices,
        Reading(),
        lambda step: None,
    )
    tables = build_dataset(gold, agent, curated, dev=[row(1)["arxiv_id"]], curated_only=True)
    assert b"".join(in_hand.lines()) == b"".join(tables.lines())
    assert (in_hand.counts, in_hand.choices) == (tables.counts, tables.choices)
    assert [file["role"] for file in in_hand.inputs] == ["gold", "agent"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_what_annotate_saved_is_read(tmp_path: Path, suffix: str) -> None:
    items = [annotated(paper(n, abstract(n))) for n in range(3)]
    path = tmp_path / f"agent{suffix}"
    with path.open("wb") as file:
        if suffix == ".jsonl":  # the corpus has the abstracts
            write_jsonl(file, items)
        else:
            write_parquet(file, items, nanda(), parquet_schema(nanda(), "arxiv_id"))
    corpus = corpus_of(tmp_path / "corpus.db", items)
    dataset = build_dataset(None, path, reading=Reading(corpus=corpus))
    assert [example["prompt"] for example in dataset.examples()] == [abstract(n) for n in range(3)]
    assert ids(dataset) == [item.paper.id for item in items]


def test_annotations_without_abstracts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.jsonl"
    with path.open("wb") as file:
        write_jsonl(file, [annotated(paper(1))])
    with pytest.raises(InputError, match="there is no corpus yet"):
        build_dataset(None, path, reading=Reading(corpus=tmp_path / "none.db"))
    empty = corpus_of(tmp_path / "empty.db", [])
    with pytest.raises(InputError, match="the corpus has no paper 2405"):
        build_dataset(None, path, reading=Reading(corpus=empty))


def test_annotations_of_another_framework_are_rejected(tmp_path: Path) -> None:
    other = Framework.model_validate({**nanda().model_dump(), "name": "other"})
    path = tmp_path / "agent.parquet"
    with path.open("wb") as file:
        items = [annotated(paper(1), framework=other)]
        write_parquet(file, items, nanda(), parquet_schema(nanda(), "arxiv_id"))
    with pytest.raises(InputError, match="no row is left to train on") as caught:
        build_dataset(None, path)
    assert "was made with the framework other, not nanda" in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "choices", "message"),
    [
        ({}, {}, "there are no annotations to build training data from"),
        ({"agent_csv": "rows"}, {"curated_only": True}, "--curated-only requires curated"),
        ({"gold_csv": "missing"}, {}, "there is no such file"),
        ({"gold_csv": "twice", "agent_csv": "missing"}, {}, "there is no such file"),
        ({"gold_csv": "lacking"}, {}, "has no column limitation, novelty"),
        ({"gold_csv": "empty"}, {}, "no row is left to train on"),
    ],
)
def test_input_that_is_refused(
    made: Make, tmp_path: Path, tables: dict[str, str], choices: dict[str, Any], message: str
) -> None:
    made("rows", rows(range(2)))
    moves = ("limitation", "novelty")
    made("lacking", [{k: v for k, v in row(0).items() if k not in moves}])
    made("twice", [row(0), row(0, abstract="Another one.")])
    (tmp_path / "empty.csv").write_text(",".join(row(0)) + "\n", encoding="utf-8")
    given = {name: tmp_path / f"{table}.csv" for name, table in tables.items()}
    with pytest.raises(InputError, match=message) as caught:
        build_dataset(**{"gold_csv": None, "agent_csv": None, **given, **choices})
    assert caught.value.exit_code == 2


def test_columns_of_other_names_can_be_named(made: Make) -> None:
    renamed = {"text": "abstract", "number": "arxiv_id"}
    other = [{n: row(0)[renamed.get(n, n)] for n in (*renamed, *nanda().names)}]
    [example] = build_dataset(
        made("gold", other), None, reading=Reading(columns=Columns("text", "number"))
    ).examples()
    assert (example["prompt"], example["id"]) == (abstract(0), "2401.00001")


TRICKY = 'We cut "<|im_end|>" and </annotation>,\n[INST] kept p < 0.05 <think> in "C++".'


def test_the_prompt_is_what_annotate_sends() -> None:
    sent = TaggedForm(nanda()).messages(Paper("id", "1", "", TRICKY))
    assert sent == (
        Message("system", format_annotation_system()),
        Message("user", format_annotation_prompt(TRICKY)),
    )


def test_the_messages_of_a_written_row_are_those_of_the_request(made: Make) -> None:
    [example] = build_dataset(made("gold", [row(0, abstract=TRICKY)]), None).examples()
    sent = TaggedForm(nanda()).messages(Paper("id", "1", "", TRICKY))
    assert chat_messages(example) == [{"role": m.role, "content": m.content} for m in sent]


def test_the_completion_is_what_annotate_reads(made: Make) -> None:
    moves = {name: f"The {name}: it is < 5 and [3]." for name in nanda().names}
    moves["limitation"] = "not stated"
    text = format_annotation_output({**moves, "title": "T", "arxiv_id": "1"})
    assert text.startswith("<annotation>\nClaim: The claim: it is < 5 and [3].\n")
    assert text.endswith("</annotation>")
    assert TaggedForm(nanda()).parse(text) == {**moves, "limitation": "Not stated."}
    [example] = build_dataset(made("gold", [row(0, **moves)]), None).examples()
    assert example["completion"] == text


def test_no_move_can_end_the_answer_or_begin_a_turn() -> None:
    moves = {name: f"{name} {TRICKY}" for name in nanda().names}
    text = format_annotation_output(moves)
    assert "<|" not in text
    assert text.count("</annotation>") == 1
    assert len(text.splitlines()) == 10


def test_moves_that_do_not_fit_are_refused_by_name() -> None:
    moves: dict[str, Any] = dict.fromkeys(nanda().names, "Some text.")
    del moves["scope"]
    with pytest.raises(InputError, match=r"^claim is not a string; scope is missing\. "):
        format_annotation_output({**moves, "claim": 3.5})


def test_another_framework_has_its_own_form(made: Make, tmp_path: Path) -> None:
    dumped = nanda().model_dump()
    short = Framework.model_validate(
        {**dumped, "moves": dumped["moves"][:2], "tuned_instructions": "Take it apart."}
    )
    with (tmp_path / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["abstract", "claim", "evidence"], ["A b c.", "One.", "Two."]])
    [example] = build_dataset(tmp_path / "gold.csv", None, reading=Reading(short)).examples()
    assert example["system"] == "Take it apart."
    assert example["completion"] == "<annotation>\nClaim: One.\nEvidence: Two.\n</annotation>"


DATA = SHARED
TEXT = abstract(500, words=100)
CHANGED = TEXT.replace(TEXT.split()[50], "other", 1)


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return table(tmp_path / "gold.csv", rows(range(10)))


def dev_table(folder: Path, content: Iterable[Mapping[str, str]]) -> str:
    return str(table(folder / "dev.csv", content))


def out(dataset: Dataset) -> list[dict[str, Any]]:
    return [left.as_dict() for left in dataset.left_out if left.why == "excluded"]


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [int(each["id"].partition(".")[2]) - 1 for each in found]


def test_held_out_table_excludes_its_ids(gold: Path, tmp_path: Path) -> None:
    papers = [{"arxiv_id": row(3)["arxiv_id"] + "v2", "abstract": "Quite another text."}]
    dataset = build_dataset(gold, None, dev=[dev_table(tmp_path, papers)])
    assert len(dataset.rows) == 9
    [found] = out(dataset)
    assert (found["reason"], found["split"]) == ("its id is that of a paper kept for dev", "dev")
    assert found["of_where"].endswith("dev.csv, line 2")


@pytest.mark.parametrize(
    ("text", "reason", "similarity"),
    [
        (TEXT.replace(" ", "\n", 9), "its abstract is that of a paper kept for test", 1.0),
        (CHANGED, "its abstract is nearly that of a paper kept for test", 0.9417),
    ],
)
def test_held_out_table_excludes_its_abstracts(
    tmp_path: Path, text: str, reason: str, similarity: float
) -> None:
    gold = table(tmp_path / "gold.csv", [row(1), row(2, abstract=text)])
    held = table(tmp_path / "held.csv", [{"paper_id": "cs-7", "abstract": TEXT}])
    dataset = build_dataset(gold, None, test=[str(held)])
    [found] = out(dataset)
    assert (found["reason"], found["of"], found["similarity"]) == (reason, "cs-7", similarity)
    assert numbers([found]) == [2]


def test_id_list_may_have_comments(gold: Path, tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    first, second = row(1)["arxiv_id"], row(2)["arxiv_id"]
    path.write_text(f"# for the test\n\n{first}\narXiv:{second}v3  a remark\n", encoding="utf-8")
    dataset = build_dataset(gold, None, test=[str(path)])
    assert numbers(out(dataset)) == [1, 2]
    assert [each["of_where"][-6:] for each in out(dataset)] == ["line 3", "line 4"]
    assert [(file["role"], Path(file["path"]).name) for file in dataset.inputs] == [
        ("gold", "gold.csv"),
        ("test", "ids.txt"),
    ]


def test_ids_may_be_named_on_the_line(gold: Path) -> None:
    dev = [f"{row(1)['arxiv_id']},{row(2)['arxiv_id']}", row(4)["arxiv_id"]]
    dataset = build_dataset(gold, None, dev=dev, test=["hep-th/9901001"])
    assert numbers(out(dataset)) == [1, 2, 4]
    many = ",".join(row(number)["arxiv_id"] for number in range(1, 2000))
    assert len(build_dataset(gold, None, dev=[many]).rows) == 1


def test_held_out_paper_is_excluded_from_all_sources(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [row(1)])
    agent = table(tmp_path / "agent.csv", [row(1, "agent"), row(2, "agent")])
    curated = table(tmp_path / "curated.csv", [row(1, "curated")])
    dataset = build_dataset(gold, agent, curated, dev=[row(1)["arxiv_id"]])
    assert [each["source"] for each in out(dataset)] == ["gold", "curated", "agent"]
    assert [example["id"] for example in dataset.examples()] == [row(2)["arxiv_id"]]


def test_held_out_id_also_excludes_copies_of_its_abstract(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [row(1, abstract=TEXT), row(2)])
    agent = table(tmp_path / "agent.csv", [row(3, "agent", abstract=CHANGED), row(4, "agent")])
    curated = table(tmp_path / "curated.csv", [row(3, "curated", abstract="Told in new words.")])
    dataset = build_dataset(gold, agent, curated, dev=[row(1)["arxiv_id"]])
    assert [(each["source"], *numbers([each])) for each in out(dataset)] == [
        ("gold", 1),
        ("curated", 3),
        ("agent", 3),
    ]
    assert len(dataset.rows) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing.csv", "there is no such file"),
        ("missing.txt", "there is no such file"),
        ("gold_dev.cvs", "is neither a table nor a list of ids"),
        ("./dev", "is neither a table nor a list of ids"),
        ("two words", "is neither a table nor a list of ids"),
        ("notes.txt", "does not name a paper"),
        (",", "does not name a paper"),
    ],
)
def test_invalid_held_out_sets(
    gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("# nothing yet\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        build_dataset(gold, None, dev=[given])


def test_similarity_of_two_abstracts() -> None:
    assert similarity("One two three four.", "one, two; three FOUR") == 1.0
    assert similarity("a b c d", "a b c e") == pytest.approx(1 / 3)
    assert similarity("a b", "a b!") == 1.0
    assert similarity("...", "?") == 0.0
    assert similarity("a b c", "...") == 0.0


def similarity(one: str, other: str) -> float:
    index: AbstractIndex[None] = AbstractIndex(0.0)
    index.add(one, None)
    found = index.find(other)
    return found.similarity if found else 0.0


def test_the_nearest_of_several_is_found() -> None:
    index: AbstractIndex[str] = AbstractIndex()
    words = TEXT.split()
    for name, text in (
        *(("near", CHANGED), ("far", " ".join(words[:80]))),
        *(("again", CHANGED), ("other", abstract(2))),
    ):
        index.add(text, name)
    found = index.find(TEXT)
    assert found is not None
    assert (found.value, found.similarity) == ("near", similarity(TEXT, CHANGED))
    assert index.find("...") is None


def test_shared_data_has_no_near_duplicates() -> None:
    names = ("gold_train.csv", "gold_train_cs.csv", "gold_dev.csv", "pool.csv")
    if not all((DATA / name).is_file() for name in names):
        pytest.skip("the shared data is not here")
    abstracts = []
    for name in names:
        with (DATA / name).open(encoding="utf-8-sig", newline="") as file:
            abstracts += [line["abstract"] for line in csv.DictReader(file)]
    index: AbstractIndex[str] = AbstractIndex(0.3)
    alike = []
    for text in abstracts:
        if (found := index.find(text)) is not None:
            alike.append(found.similarity)
        index.add(text, text)
    assert len(abstracts) == 2149
    assert [round(similarity, 2) for similarity in alike] == [0.38]
    assert max(alike) < MAX_SIMILARITY - 0.2
