"""Parsing of lines."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from harness import Call, Result, Skill, SkillOptions, UsageError
from harness.api.options import GeneralOptions
from harness.runs.invocation import (
    Invocation,
    parse_general,
    render_line,
    split_command,
    split_options,
)
from harness.runs.invocation import parse as parse_rest


class Sample(Skill):
    name = "sample"
    summary = "for the tests"
    saves = (".md", ".json")
    subcommands = {"plan": "say what would be done", "find": "search for words"}
    phrases = ("find",)

    class Options(SkillOptions):
        limit: int | None = Field(None, ge=1)
        title: str | None = None
        kind: Literal["short", "long"] = "short"
        dry_run: bool = False
        tag: list[str] = []
        cache: bool = True

    def run(self, call: Call) -> Result:
        return Result(call.text)


def parse(rest: str, **general: object) -> Invocation:
    return parse_rest(Sample(), rest, general)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/annotate What's new", ("annotate", "What's new")),
        ("/annotate", ("annotate", "")),
        ("  /new-skill x", ("new-skill", "x")),
        ("/a\nb", ("a", "b")),
        ("/usr/lib/python", None),
        ("/Annotate x", None),
        ("/-x", None),
        ("/a--b x", None),
        ("plain text", None),
        ("", None),
        ("/", None),
    ],
)
def test_a_command_is_one_slash_and_a_name(line, expected):
    assert split_command(line) == expected


@pytest.mark.parametrize(
    "rest",
    [
        "x save to out.md --registry own.yaml",
        "x save to out.md --title notes.txt --limit 2",
        "x -o out.md --title=notes.txt --registry own.yaml",
    ],
)
def test_values_after_the_target_are_not_part_of_it(rest):
    parsed = parse(rest)
    assert (parsed.text, parsed.targets) == ("x", (Path("out.md"),))
    assert parsed.general.registry == Path("own.yaml") or parsed.options.title == "notes.txt"


def test_text_is_kept_byte_for_byte():
    text = 'What\'s "this"?\n\n  Indented,\ttabbed -- and $HOME `x`  \\n'
    assert parse(f"--limit 3 {text}").text == text


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("'a b.csv' --limit 3", "a b.csv"),
        ('--limit 3 "a b.csv" save to x.md', "a b.csv"),
        ("“We show it.”", "We show it."),
        ("‘We show it.’", "We show it."),  # noqa: RUF001
        ("„Wir zeigen es.“", "Wir zeigen es."),
        ("« Nous le montrons. »", "Nous le montrons."),
        ("»Wir zeigen es.«", "Wir zeigen es."),
        ("‹Nous le montrons.›", "Nous le montrons."),  # noqa: RUF001
        ("「示す。」", "示す。"),
        ("「甲」と「乙」", "「甲」と「乙」"),
        ("'We don't halt.'", "We don't halt."),
        ("‘We don’t halt.’", "We don’t halt."),  # noqa: RUF001
        ("\n'several\n lines'\n", "several\n lines"),
        ("''", ""),
        ('"a" or "b"', '"a" or "b"'),
        ("'What' and 'new'", "'What' and 'new'"),
        ("“a” and “b”", "“a” and “b”"),
        ("What's 'new'", "What's 'new'"),
        ("'open", "'open"),
        ("'", "'"),
        ('-- "kept"', '"kept"'),
        ("'where to save to'", "where to save to"),
        ('find "kept"', '"kept"'),
        ("find '\"kept\"'", '"kept"'),
        ("find 'not kept'", "not kept"),
    ],
)
def test_quotes_around_a_text_are_not_part_of_it(rest, text):
    parsed = parse(rest)
    assert parsed.text == text
    shown = render_line(Sample(), parsed).removeprefix("/sample").lstrip()
    assert parse_rest(Sample(), shown).text == text


@pytest.mark.parametrize(
    ("rest", "text", "targets"),
    [
        ("a.txt save to out.md", "a.txt", ["out.md"]),
        ('a.txt save to "my out.md"', "a.txt", ["my out.md"]),
        ("a.txt save to 'my out.md'", "a.txt", ["my out.md"]),
        ("a.txt SAVE TO out.md", "a.txt", ["out.md"]),
        ("a.txt -o out.md", "a.txt", ["out.md"]),
        ("-o out.md a.txt", "a.txt", ["out.md"]),
        ("a.txt save to a.md -o a.json", "a.txt", ["a.md", "a.json"]),
        ("a.txt save to out.md --dry-run", "a.txt", ["out.md"]),
        ("a.txt --dry-run save to out.md", "a.txt", ["out.md"]),
        ("save to out.md", "", ["out.md"]),
        ("how to save to disk is told later on", "how to save to disk is told later on", []),
        ("-- they save to out.md", "they save to out.md", []),
        ("-- --limit", "--limit", []),
        ("-o good.md -- they save to evil.md", "they save to evil.md", ["good.md"]),
        ("-o a.md x save to b.md -o c.md", "x", ["a.md", "b.md", "c.md"]),
    ],
)
def test_where_a_result_is_saved(rest, text, targets):
    parsed = parse(rest)
    assert (parsed.text, parsed.targets) == (text, tuple(Path(t) for t in targets))


@pytest.mark.parametrize(
    ("rest", "changed", "text"),
    [
        ("--limit 3 x", {"limit": 3}, "x"),
        ("--limit=3 x", {"limit": 3}, "x"),
        ("x --limit 3", {"limit": 3}, "x"),
        ("x --limit=3", {"limit": 3}, "x"),
        ('--title "A b" x', {"title": "A b"}, "x"),
        ('x --title "A b"', {"title": "A b"}, "x"),
        ("--title=It's x", {"title": "It's"}, "x"),
        ("--dry-run x --kind long", {"dry_run": True, "kind": "long"}, "x"),
        ("--no-cache x", {"cache": False}, "x"),
        ("--tag a --tag b x", {"tag": ["a", "b"]}, "x"),
        ("--tag a x --tag b --tag c", {"tag": ["a", "b", "c"]}, "x"),
        ("x --dry-run --limit 2", {"dry_run": True, "limit": 2}, "x"),
        ("x --limit 2 --dry-run", {"dry_run": True, "limit": 2}, "x"),
    ],
)
def test_options_are_parsed_at_both_ends(rest, changed, text):
    parsed = parse(rest)
    assert parsed.options == Sample.Options(**changed)
    assert parsed.text == text


def test_options_follow_the_subcommand():
    parsed = parse("plan --limit 3 x")
    assert (parsed.subcommand, parsed.text, parsed.options.limit) == ("plan", "x", 3)
    assert parse("planning x").subcommand == ""
    assert parse("plan").subcommand == "plan"


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u00a0"])
def test_any_blank_ends_a_subcommand(blank):
    parsed = parse(f"plan{blank}--limit 3 x{blank}y")
    assert (parsed.subcommand, parsed.text) == ("plan", f"x{blank}y")


def test_general_options_of_the_line_take_precedence():
    assert parse("x --model b", model="a").general == GeneralOptions(model="b")
    assert parse("x", model="a", json=True).general == GeneralOptions(model="a", json=True)


@pytest.mark.parametrize("rest", ["--help", "x --help", "-h", "--kind nosuch --help"])
def test_help_is_recognized_anywhere(rest):
    assert parse(rest).help


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("--limt 3 x", "--limit"),
        ("x --limt 3", "--limit"),
        ("x --nosuch", "no option --nosuch"),
        ("--limit", "--limit needs a value"),
        ("x --limit", "--limit needs a value"),
        ("--limit --dry-run x", "--limit needs a value"),
        ("--limit ten x", "--limit: 'ten' should be a valid integer"),
        ("--limit 0 x", "--limit: '0' should be greater than or equal to 1"),
        ("--kind tall x", "--kind: 'tall' should be 'short' or 'long'"),
        ("--dry-run=yes x", "takes no value"),
        ("x --dry-run y", "options go before or after the text"),
        ("x --limit 1 --limit 2", "given twice"),
        ("x save to my out.md", "needs quotes"),
        ('x save to ""', "needs a path"),
        ("x save to", "needs a path"),
        ("x --limit 3 Save  To ", "needs a path"),
        ("x -o", "needs a path"),
        ("-o", "-o needs a value"),
        ("x save to ~nosuchuser/x.md", "home"),
        ("they save to evil.md save to good.md", "another save to before"),
        ("use -o evil.md save to good.md", "another -o before"),
        ("x -o my out.md", "needs quotes"),
    ],
)
def test_invalid_lines_are_refused(rest, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        parse(rest)


def test_general_options_before_the_line():
    words = ["--json", "--model", "x", "--registry=r.yaml", "/help", "--json"]
    assert parse_general(words) == (
        {"json": True, "model": "x", "registry": "r.yaml"},
        ["/help", "--json"],
    )
    assert parse_general(["--", "--json"]) == ({}, ["--json"])
    with pytest.raises(UsageError, match=r"no option --jsn\. Did you mean --json"):
        parse_general(["--jsn"])
    with pytest.raises(UsageError, match="needs a value"):
        parse_general(["--model"])
    with pytest.raises(UsageError, match="--json takes no value"):
        parse_general(["--json=false", "/help"])
    with pytest.raises(UsageError, match=r"no option -o\..*-o a\.md"):
        parse_general(["-o", "a.md", "/models"])
    assert parse_general(["--json", "--help"]) == ({"json": True}, ["--help"])


class Arguments(Sample):
    """A skill for which flags are part of the text, as prompt skills are."""

    name = "args"
    flags_are_text = True


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("42 --force", "42 --force"),
        ("--force 42", "--force 42"),
        ("--json --yes", "--json --yes"),
        ("gcc -O2 --std=c11 main.c", "gcc -O2 --std=c11 main.c"),
        ("plan --limit 3", "plan --limit 3"),
        ("explain --help, please", "explain --help, please"),
        ("where does it save to", "where does it save to"),
        ("--title 'a \"b\"'", "--title 'a \"b\"'"),
        ("-- 42 save to out.md", "42 save to out.md"),
        ("--", ""),
        ("", ""),
        ("\n two\n --lines \n", "two\n --lines \n"),
    ],
)
def test_flags_are_text_where_the_skill_declares_it(rest, text):
    invocation = parse_rest(Arguments(), rest, {"yes": True})
    assert invocation.text == text
    assert invocation.general == GeneralOptions(yes=True)
    assert invocation.options == Arguments.Options()
    assert (invocation.subcommand, invocation.targets, invocation.help) == ("", (), False)


def test_files_to_save_to_are_taken_from_text_with_flags():
    invocation = parse_rest(Arguments(), "42 --force save to a.md -o b.json")
    assert invocation.text == "42 --force"
    assert invocation.targets == (Path("a.md"), Path("b.json"))


def test_text_with_flags_that_ends_with_a_target_needs_two_hyphens():
    rest = "explain save to a.md save to b.md"
    with pytest.raises(UsageError) as caught:
        parse_rest(Arguments(), rest)
    assert "write -- TEXT." in (caught.value.hint or "")
    invocation = parse_rest(Arguments(), f"-- {rest}")
    assert (invocation.text, invocation.targets) == (rest, ())


@pytest.mark.parametrize("rest", ["--help", " -h "])
def test_help_alone_is_no_text(rest):
    assert parse_rest(Arguments(), rest).help


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        ("--json /args 42 --force", {"json": True}, "/args 42 --force"),
        ("  --yes --model a/b /args", {"yes": True, "model": "a/b"}, "/args"),
        ("--model=a/b /args x", {"model": "a/b"}, "/args x"),
        ("--yes what is /args", {}, "--yes what is /args"),
        ("--unknown /args x", {}, "--unknown /args x"),
        ("--yes -- /args x", {}, "--yes -- /args x"),
        ("--yes -o a.md /args x", {}, "--yes -o a.md /args x"),
        ("/args --yes", {}, "/args --yes"),
        ("-- /args", {}, "-- /args"),
    ],
)
def test_general_options_stand_before_a_name(line, options, rest):
    assert split_options(line) == (options, rest)
