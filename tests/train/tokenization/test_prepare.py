"""The stage `prepare`: reading, splitting, rendering and tokenizing rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from finetune_artifacts import inputs_of
from finetune_base import messages_of, smollm2, work_over
from finetune_rows import abstract, row, saved
from repository import SUPPORT

from harness.errors import InputError, UsageError
from harness.models.backends import llamacpp
from skills.finetune.dataset.annotated_rows import format_annotation_output
from skills.finetune.model.bases import open_base, open_tokenizer
from skills.finetune.run_folder import StageContext
from skills.finetune.tokenization.examples import read_examples
from skills.finetune.tokenization.prepare import Renderer, prepare
from skills.nanda.framework import nanda
from skills.nanda.generated_forms import CLOSE_TAG, TaggedForm
from skills.nanda.paper import Paper

pytestmark = pytest.mark.train


END = "<|im_end|>"


def prepared(
    work: StageContext,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    prepare(work)
    return left(work)


def left(work: StageContext) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Return the train rows, the dev rows and the facts that `prepare` wrote."""
    folder = work.run_dir.prepared
    sides = [
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("train.jsonl", "dev.jsonl")
    ]
    return sides[0], sides[1], json.loads((folder / "prepared.json").read_text())


def test_row_uses_the_chat_template_and_masks_the_prompt(base: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(8)]
    work = work_over(tmp_path, base, {"dev_share": 0}, saved(tmp_path, rows))
    train, dev, facts = prepared(work)
    tokenizer = open_tokenizer(open_base(work).folder)
    assert [one["id"] for one in train] == [one["id"] for one in rows]
    assert dev == []
    for given, one in zip(rows, train, strict=True):
        start = one["completion_start"]
        assert tokenizer.decode(one["input_ids"][:start]) == (
            f"<|im_start|>system\n{given['system']}{END}\n<|im_start|>user\n{given['prompt']}{END}\n"
            "<|im_start|>assistant\n"
        )
        assert tokenizer.decode(one["input_ids"][start:]) == given["completion"] + END
        assert one["input_ids"].index(facts["eos_token_id"], start) == len(one["input_ids"]) - 1
        assert (one["source"], one["weight"]) == ("gold", 1.0)
    assert facts["sample"] == [
        [tokenizer.decode(train[0]["input_ids"][: train[0]["completion_start"]]), False],
        [rows[0]["completion"] + END, True],
    ]


def test_decisions_are_the_first_tokens_of_the_moves(base: Path, tmp_path: Path) -> None:
    moves = {name: f"The {name} of it is 4%." for name in nanda().names}
    rare = format_annotation_output({**moves, "limitation": "It is slow: 3 s."})
    usual = format_annotation_output({**moves, "limitation": "Not stated."})
    other = f"Limitation - none\n{CLOSE_TAG}"
    rows = [row(number, completion=text) for number, text in enumerate((rare, usual, other))]
    changes = {"dev_share": 0, "decisions.weight": 4, "decisions.stated": {"limitation": 2.5}}
    train, _, _ = prepared(work_over(tmp_path, base, changes, saved(tmp_path, rows)))
    tokenizer = open_tokenizer(open_base(work_over(tmp_path, base, changes)).folder)
    labels = [f"{move.label}:" for move in nanda().moves]
    for one, (text, weight) in zip(train, ((rare, 10), (usual, 4)), strict=False):
        places = [place for place, *_ in one["decisions"]]
        before = [tokenizer.decode(one["input_ids"][:place]) for place in places]
        assert [text.rpartition("\n")[2] for text in before] == labels
        at = labels.index("Limitation:")
        weights = [found for _, found, _ in one["decisions"]]
        assert weights == [4] * at + [weight] + [4] * (7 - at)
        assert {tokenizer.decode([token]) for *_, token in one["decisions"]} == {" Not"}
        first = text.partition("Limitation: ")[2]
        assert first.startswith(tokenizer.decode([one["input_ids"][places[at]]]).strip())
    assert train[2]["decisions"] == [], "what is no annotation decides nothing"


def test_stated_move_with_ambiguous_first_token_has_no_decision(base: Path, tmp_path: Path) -> None:
    moves = {name: f"The {name} of it is 4%." for name in nanda().names}
    stated = {"comparison": "Not much was known of it.", "scope": "Nothing but towns."}
    rows = [row(0, completion=format_annotation_output({**moves, **stated}))]
    changes = {"dev_share": 0, "decisions.weight": 4}
    train, _, _ = prepared(work_over(tmp_path, base, changes, saved(tmp_path, rows)))
    tokenizer = open_tokenizer(open_base(work_over(tmp_path, base, changes)).folder)
    ids, decisions = train[0]["input_ids"], train[0]["decisions"]
    before = [tokenizer.decode(ids[:place]).rpartition("\n")[2] for place, *_ in decisions]
    assert before == [f"{move.label}:" for move in nanda().moves if move.name != "comparison"]
    assert all(ids[place] != token for place, _, token in decisions)


def test_a_label_before_the_annotation_decides_nothing(base: Path, tmp_path: Path) -> None:
    text = f"Scope: as asked\n<annotation>\nClaim: It is 4%.\n{CLOSE_TAG}"
    changes = {"dev_share": 0, "decisions.weight": 4}
    data = saved(tmp_path, [row(0, completion=text)])
    train, _, _ = prepared(work_over(tmp_path, base, changes, data))
    assert len(train[0]["decisions"]) == 1


def test_decisions_need_a_weight_and_a_known_move(base: Path, tmp_path: Path) -> None:
    data = saved(tmp_path, [row(number) for number in range(3)])
    work = work_over(tmp_path, base, {"dev_share": 0}, data)
    train, _, _ = prepared(work)
    assert [one["decisions"] for one in train] == [[], [], []]
    changed = work_over(tmp_path, base, {"dev_share": 0, "decisions.weight": 2}, data)
    assert inputs_of(prepare, changed) != inputs_of(prepare, work)
    wrong = work_over(tmp_path, base, {"decisions.stated": {"limits": 2}}, data)
    with pytest.raises(UsageError, match="names 'limits', which is not a move of nanda"):
        prepare(wrong)


def test_facts_describe_base_sources_and_lengths(base: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(6)]
    rows += [row(number, source="agent", weight=0.5) for number in range(6, 9)]
    changes = {"dev_share": 0, "training.batch": 2}
    work = work_over(tmp_path, base, changes, saved(tmp_path, rows))
    train, _, facts = prepared(work)
    opened = open_base(work)
    assert facts["base"] == str(base)
    assert facts["base_digest"] == opened.digest
    assert (facts["eos_token_id"], facts["pad_token_id"], facts["eos_token"]) == (2, 2, END)
    assert facts["rows"]["sources"] == {
        "agent": {"rows": 3, "weights": [0.5]},
        "gold": {"rows": 6, "weights": [1.0]},
    }
    lengths = [len(one["input_ids"]) for one in train]
    tokens = facts["tokens"]
    assert tokens["total"]["max"] == max(lengths)
    assert tokens["prompt"]["sum"] == sum(one["completion_start"] for one in train)
    assert tokens["prompt"]["sum"] + tokens["completion"]["sum"] == sum(lengths)


@pytest.fixture(scope="module")
def running() -> Iterator[httpx.Client]:
    """A client of the engine with SmolLM2-135M-Instruct."""
    started = llamacpp.start({"gguf": smollm2()}, 512)
    headers = {"Authorization": f"Bearer {started.key}"}
    with httpx.Client(
        base_url=started.server.listening_address, headers=headers, trust_env=False
    ) as client:
        yield client


@pytest.mark.model
def test_prompt_tokens_equal_those_of_the_engine(
    base: Path, tmp_path: Path, running: httpx.Client
) -> None:
    rows = [row(number) for number in range(5)]
    work = work_over(tmp_path, base, {"dev_share": 0}, saved(tmp_path, rows))
    train, _, _ = prepared(work)
    for number, one in enumerate(train):
        sent = TaggedForm(nanda()).messages(Paper("id", "", "", abstract(number)))
        body = {
            "messages": [{"role": message.role, "content": message.content} for message in sent],
            "chat_template_kwargs": {"enable_thinking": False},
        }
        prompt = running.post("/apply-template", json=body).json()["prompt"]
        given = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = running.post("/tokenize", json=given).json()["tokens"]
        assert one["input_ids"][: one["completion_start"]] == tokens


def test_too_long_rows_are_refused_by_id(base: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(15)]
    for number in range(2, 14):
        rows[number]["prompt"] += " and so on" * 600
    work = work_over(tmp_path, base, {"training.max_length": 1024}, saved(tmp_path, rows))
    with pytest.raises(InputError) as refused:
        prepare(work)
    text = str(refused.value)
    assert "train.jsonl, line 3: this row and 11 others have more than 1,024 tokens" in text
    assert "2 more" in text
    assert text.count("2401.") == 10
    assert "training.max_length" in text
    assert not work.run_dir.prepared.exists()


def test_a_row_of_exactly_max_length_is_kept_whole(base: Path, tmp_path: Path) -> None:
    data = saved(tmp_path, [row(1)])
    train, _, _ = prepared(work_over(tmp_path, base, {"dev_share": 0}, data))
    length = len(train[0]["input_ids"])
    fits = work_over(tmp_path, base, {"dev_share": 0, "training.max_length": length}, data)
    assert len(prepared(fits)[0][0]["input_ids"]) == length
    short = work_over(tmp_path, base, {"dev_share": 0, "training.max_length": length - 1}, data)
    with pytest.raises(InputError, match=rf"this row has .*2401.00001 \({length}\)"):
        prepare(short)


def test_too_long_dev_row_error_names_file_and_line(base: Path, tmp_path: Path) -> None:
    data = saved(tmp_path, [row(0)])
    long = row(8, prompt=row(8)["prompt"] + " and so on" * 600)
    dev = saved(tmp_path, [row(7), long], "dev.jsonl")
    work = work_over(tmp_path, base, {"training.max_length": 1024}, data, dev)
    with pytest.raises(
        InputError, match=r"dev\.jsonl, line 2: this row has more than 1,024 tokens"
    ):
        prepare(work)


def test_a_completion_with_a_special_token_is_refused(base: Path, tmp_path: Path) -> None:
    early = f"<annotation>\nClaim: it ends {END} early\n</annotation>"
    data = saved(tmp_path, [row(0), row(1, completion=early)])
    work = work_over(tmp_path, base, {"dev_share": 0}, data)
    with pytest.raises(InputError, match=r"train.jsonl, line 2: .*completion.*<\|im_end\|>"):
        prepare(work)


def test_a_row_that_has_a_template_around_it_is_refused(base: Path, tmp_path: Path) -> None:
    rendered = f"<|im_start|>user\n{row(1)['prompt']}{END}\n<|im_start|>assistant\n"
    data = saved(tmp_path, [row(0), row(1, prompt=rendered)])
    work = work_over(tmp_path, base, {"dev_share": 0}, data)
    with pytest.raises(InputError, match=r"train.jsonl, line 2: its prompt contains .*<\|im_"):
        prepare(work)


def test_completion_without_closing_tag_is_refused(base: Path, tmp_path: Path) -> None:
    bare = row(1)["completion"].removesuffix("</annotation>")
    work = work_over(tmp_path, base, {}, saved(tmp_path, [row(0), row(1, completion=bare)]))
    with pytest.raises(InputError, match=r"line 2: its completion does not end with </annotation>"):
        prepare(work)
    assert not work.run_dir.prepared.exists()


def test_unreadable_completions_are_reported(base: Path, tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1, completion="<annotation>\nClaim: a\n</annotation>"),
        row(2, completion="<annotation>\nThoughts: none\n</annotation>"),
    ]
    work = work_over(tmp_path, base, {"dev_share": 0}, saved(tmp_path, rows))
    train, _, _ = prepared(work)
    assert len(train) == 3
    (notice,) = [line for line in messages_of(work).splitlines() if "/annotate" in line]
    assert notice.startswith("/annotate would not accept 2 of the 3 completions; the first is")
    assert "train.jsonl, line 2 (evidence " in notice


THINKING = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}\
{% if m.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}\
{{ m.content + '<|im_end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
{% if enable_thinking is defined and enable_thinking is false %}\
{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"""
"""As in Qwen3: an answer without thoughts still has the tags."""


def test_thinking_is_disabled(base: Path, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(open_base(work_over(tmp_path, base)).folder)
    tokenizer.chat_template = THINKING
    one = read_examples(saved(tmp_path, [row(0)]))[0]
    renderer = Renderer(tokenizer)
    tokens = renderer.row_of(one)
    (given, _), (answer, _) = renderer.pieces(tokens)
    assert given.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert answer == one.completion + END


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "writes nothing after an answer"),
        (
            "{% for m in messages %}{{ m.content + '\n' }}{% endfor %}",
            "which does not stop generation",
        ),
        (
            "{% for m in messages %}{{ m.content | upper + '<|im_end|>' }}{% endfor %}",
            "changes a prompt or its answer",
        ),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
    ],
)
def test_a_template_that_cannot_be_trained_with_is_refused(
    base: Path, tmp_path: Path, template: str, complaint: str
) -> None:
    tokenizer = open_tokenizer(open_base(work_over(tmp_path, base)).folder)
    tokenizer.chat_template = template
    one = read_examples(saved(tmp_path, [row(0)]))[0]
    with pytest.raises(InputError, match="base's chat template") as refused:
        Renderer(tokenizer).row_of(one)
    assert complaint in str(refused.value)


def test_prompt_tokens_do_not_join_with_the_answer(base: Path, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(open_base(work_over(tmp_path, base)).folder)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}"
        "{{ '<|im_end|>' }}{% endif %}{% endfor %}"
    )
    one = read_examples(saved(tmp_path, [{"prompt": "an inter", "completion": "nation"}]))[0]
    tokens = Renderer(tokenizer).row_of(one)
    given = tokenizer.encode("an inter", add_special_tokens=False)
    assert tokenizer.encode("an international", add_special_tokens=False)[: len(given)] != given
    assert list(tokens.input_ids[: tokens.completion_start]) == given


def test_stage_is_current_until_an_input_changes(base: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(5)]
    data = saved(tmp_path, rows)
    work = work_over(tmp_path, base, {"dev_share": 0}, data)
    prepare(work)
    assert work.run_dir.is_current("prepare", inputs_of(prepare, work))
    without_data = work_over(tmp_path, base, {"dev_share": 0})
    assert work.run_dir.is_current("prepare", inputs_of(prepare, without_data))
    seeded = work_over(tmp_path, base, {"dev_share": 0, "training.seed": 7}, data)
    assert work.run_dir.changed("prepare", inputs_of(prepare, seeded)) == ("seed",)
    saved(tmp_path, [*rows, row(5)])
    assert work.run_dir.changed("prepare", inputs_of(prepare, work)) == ("data",)
    dev = work_over(tmp_path, base, {"dev_share": 0}, data, saved(tmp_path, [row(9)], "dev.jsonl"))
    assert work.run_dir.changed("prepare", inputs_of(prepare, dev)) == ("data", "dev", "dev_share")


def test_without_a_data_set_there_is_nothing_to_prepare(base: Path, tmp_path: Path) -> None:
    work = work_over(tmp_path, base)
    with pytest.raises(UsageError, match="no data set"):
        prepare(work)


def test_no_torch_is_needed_to_prepare_rows_for_a_folder(base: Path, tmp_path: Path) -> None:
    data = saved(tmp_path, [row(number) for number in range(3)])
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.path[:0] = [{str(SUPPORT)!r}, {str(SUPPORT / 'finetune')!r}]\n"
        "from pathlib import Path\n"
        "from finetune_base import work_over\n"
        "from skills.finetune.tokenization.prepare import prepare\n"
        f"work = work_over(Path({str(tmp_path)!r}), {str(base)!r}, {{'dev_share': 0}}, "
        f"Path({str(data)!r}))\n"
        "prepare(work)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train, _, _ = left(work_over(tmp_path, base))
    assert len(train) == 3


def test_papers_of_the_dev_file_are_not_trained_on_and_named(base: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(4)]
    rows.append(row(5, sha256=rows[1]["sha256"], source="agent"))
    dev = saved(tmp_path, [row(1), row(8)], "dev.jsonl")
    work = work_over(tmp_path, base, data=saved(tmp_path, rows), dev=dev)
    train, measured, facts = prepared(work)
    assert [one["id"] for one in train] == ["2401.00000", "2401.00002", "2401.00003"]
    assert [one["id"] for one in measured] == ["2401.00001", "2401.00008"]
    assert facts["rows"]["kept_out"] == ["2401.00001", "2401.00005"]
    assert facts["rows"]["dev_from"] == "a file"
    assert facts["tokens"]["total"]["sum"] == sum(
        len(one["input_ids"]) for one in (*train, *measured)
    )
    assert "2 rows not trained on" in messages_of(work)
    assert "2401.00001, 2401.00005" in messages_of(work)


def test_missing_dev_rows_are_reported(base: Path, tmp_path: Path) -> None:
    work = work_over(tmp_path, base, {"dev_share": 0}, saved(tmp_path, [row(1)]))
    prepared(work)
    assert "there are no dev rows to evaluate on (dev_share is 0)" in messages_of(work)
