"""The options of /annotate: each is used or refused, and dates are ISO 8601."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from annotate_workspace import Workspace
from arxiv_server import ArxivServer

from harness.api import options
from harness.cli.help_command import skill_help
from harness.errors import InputError, UsageError
from skills.annotate.plugin import Annotate
from skills.corpus import table

ABSTRACT = "We present method 1 for the task of sorting papers, and it is twice as fast. " * 4
BY_CASE = {
    "table": "--limit 1|--abstract-column abstract|--id-column arxiv_id|--title-column title"
    "|--collection agents|--tag new|--cascade better|--budget 20%|--sample gold.csv",
    "table, topic": "--retry-failed|--workers 1|--on local|--actors 1|--slots 1|--cpus 1|--gpus 1",
    "table, topic, paper": "--db own.db",
    "table, paper": "--sections limitation|--strict",
    "topic": "--source corpus|--max 1|--since 2024|--until 2024|--relevance 0.5",
    "paper": "--title Sorting",
}
CLUSTER = ("--actors", "--slots", "--cpus", "--gpus")
TOGETHER = (
    "--retry-failed",
    "--collection",
    "--tag",
    "--sections",
    "--cascade",
    "--budget",
    "--sample",
    *CLUSTER,
)
"""Options that do nothing alone, or are refused."""
EVERYWHERE = {"framework", "max_tokens", "wording", "abstracts", "split", "raw"}


@pytest.fixture
def workspace(tmp_path: Path, arxiv: ArxivServer) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.rows(1, 2, 3)
    (tmp_path / "one.txt").write_text(ABSTRACT)
    return workspace


def fit(case: str) -> list[tuple[str, bool]]:
    """Return the options that do not apply to every input, and whether they apply to `case`."""
    return [
        (option, case in cases.split(", "))
        for cases, some in BY_CASE.items()
        for option in some.split("|")
    ]


def test_every_option_is_listed() -> None:
    named = {flag.removeprefix("--").split()[0].replace("-", "_") for flag, _ in fit("")}
    assert named | EVERYWHERE == set(Annotate.Options.model_fields)


@pytest.mark.parametrize(
    ("case", "text", "what"),
    [
        ("table", "papers.csv", "a table"),
        ("topic", "sorting papers", "a topic"),
        ("paper", "one.txt", "one paper"),
        ("paper", "2405.12345", "one paper"),
        ("paper", ABSTRACT, "one paper"),
    ],
)
def test_options_for_other_inputs_are_refused(
    workspace: Workspace, arxiv: ArxivServer, case: str, text: str, what: str
) -> None:
    for option in (option for option, fits in fit(case) if not fits):
        with pytest.raises(UsageError) as caught:
            workspace.app.dispatch(f"/annotate {option} -- {text}")
        assert caught.value.message == f"{option.split()[0]} does not apply to {what}"
        assert caught.value.exit_code == 2
    assert workspace.annotator.counts == {}
    assert arxiv.requests == []


@pytest.mark.parametrize(("case", "text"), [("table", "papers.csv"), ("paper", "one.txt")])
def test_options_that_apply_are_accepted(workspace: Workspace, case: str, text: str) -> None:
    for option in (
        option for option, fits in fit(case) if fits and not option.startswith(TOGETHER)
    ):
        assert workspace.app.dispatch(f"/annotate {text} {option}").result.code == 0, option


def test_topic_options_are_accepted_with_a_topic(workspace: Workspace) -> None:
    workspace.annotate("save to out.jsonl")
    line = "/annotate sorting papers --source corpus --max 2 --workers 1"
    assert workspace.app.dispatch(line).result.code == 0


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("2024", (2024, 1, 1), (2024, 12, 31)),
        ("2024-02", (2024, 2, 1), (2024, 2, 29)),
        ("2023-02", (2023, 2, 1), (2023, 2, 28)),
        ("2024-12", (2024, 12, 1), (2024, 12, 31)),
        ("2024-05-17", (2024, 5, 17), (2024, 5, 17)),
    ],
)
def test_a_date_is_a_year_a_month_or_a_day(
    written: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    made = options.build(Annotate.Options, {"since": written, "until": written})
    assert (made.since, made.until) == (date(*first), date(*last))
    assert options.build(Annotate.Options, {}).since is None


@pytest.mark.parametrize(
    "written",
    ["86400", "1", "20250101", "2025-1-1", "2025-13", "2025-02-30", "0000", "2025-", "May",
     "2025-01-01T00:00:00", "", "٢٠٢٥"],
)  # fmt: skip
@pytest.mark.parametrize("option", ["since", "until"])
def test_invalid_dates_are_refused(option: str, written: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.build(Annotate.Options, {option: written})
    assert caught.value.message == (
        f"--{option}: {written!r} is not a date; write 2025, 2025-01 or 2025-01-31"
    )


def test_the_help_shows_the_type_date() -> None:
    assert "--since DATE" in skill_help(Annotate())


@pytest.mark.parametrize("suffix", [".xml", ".docx"])
def test_other_files_are_refused_with_the_supported_ones(workspace: Workspace, suffix: str) -> None:
    with pytest.raises(InputError, match=f"does not read {suffix} files") as caught:
        workspace.app.dispatch(f"/annotate papers{suffix}")
    assert all(known in str(caught.value.hint) for known in (".txt", *table.SUFFIXES))
