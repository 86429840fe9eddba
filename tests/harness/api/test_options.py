"""Options: error messages, choices, variants, help, completion and JSON Schema."""

import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from pydantic import (
    AfterValidator,
    AwareDatetime,
    DirectoryPath,
    Field,
    FilePath,
    FutureDate,
    HttpUrl,
    Json,
    NaiveDatetime,
    NewPath,
    PastDate,
    create_model,
    model_validator,
)

from harness import Call, Result, Skill, SkillOptions, UsageError
from harness.api.options import GeneralOptions, build, flags, flags_for
from harness.cli.completion import LineCompleter
from harness.cli.help_command import skill_help, subcommand_help
from harness.cli.overview import commands
from harness.plugins.catalogue import Catalogue, Found
from harness.testing import fake_app, one_shot, session
from skills.corpus.plugin import Corpus
from skills.finetune.plugin import Finetune


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


def only_even(value: int) -> int:
    assert value % 2 == 0, "only even ones"
    return value


def own_words(value: str) -> str:
    raise ValueError(f"{value!r} is not a known colour")


class Typed(Skill):
    """One option of each type."""

    name = "typed"
    summary = "has options of all types"
    text = "optional"

    class Options(SkillOptions):
        max: int = Field(10, ge=1, le=200)
        count: int = 0
        above: int = Field(5, gt=1, lt=9)
        share: float = Field(0.5, ge=0, le=1, allow_inf_nan=False)
        third: int = Field(0, multiple_of=3)
        kind: Literal["short", "long"] = "short"
        level: Literal[1, 2] = 1
        size: Size = Size.SMALL
        many: int | Literal["all"] = "all"
        code: str = Field("abc", min_length=1, max_length=4, pattern="^[a-z]+$")
        longer: str = Field("abc", min_length=2)
        day: date = date(2025, 1, 1)
        past: PastDate = date(2025, 1, 1)
        future: FutureDate | None = None
        moment: datetime | None = None
        zoned: AwareDatetime | None = None
        unzoned: NaiveDatetime | None = None
        hour: time | None = None
        length: timedelta | None = None
        file: FilePath | None = None
        folder: DirectoryPath | None = None
        new: NewPath | None = None
        at: HttpUrl | None = None
        key: UUID | None = None
        price: Annotated[Decimal, Field(max_digits=4, decimal_places=2)] = Decimal(1)
        tag: list[int] = Field(default=[], max_length=2)
        pair: tuple[int, int] | None = None
        flag: list[bool] = []
        extra: Json | None = None
        even: Annotated[int, AfterValidator(only_even)] = 0
        colour: Annotated[str, AfterValidator(own_words)] = "red"
        dry: bool = False

        @model_validator(mode="after")
        def _together(self):
            if self.dry and self.count:
                raise ValueError("--dry and --count exclude each other")
            return self

    def run(self, call: Call) -> Result:
        return Result(repr(call.options))


DATES = "Write a date as 2025-01-31 and a time as 2025-01-31T12:30."
REFUSED = [
    ("--max ten", "--max: 'ten' should be a valid integer\n"),
    ("--max 2.5", "--max: '2.5' should be a valid integer\n"),
    ("--max 0", "--max: '0' should be greater than or equal to 1\n"),
    ("--max 201", "--max: '201' should be less than or equal to 200\n"),
    ("--max ''", "--max: '' should be a valid integer\n"),
    (f"--count {'9' * 5000}", f"--count: '{'9' * 76}... Unable to parse"),
    ("--above 1", "--above: '1' should be greater than 1"),
    ("--share 2", "--share: '2' should be less than or equal to 1"),
    ("--max 3 --max 4", "--max is given twice"),
    ("--dry --dry", "--dry is given twice"),
    ("--share half", "--share: 'half' should be a valid number"),
    ("--third 4", "--third: '4' should be a multiple of 3"),
    ("--kind shrot", "--kind: 'shrot' should be 'short' or 'long'. Did you mean short?"),
    ("--level 3", "--level: '3' should be 1 or 2"),
    ("--size Size.SMALL", "--size: 'Size.SMALL' should be 'small' or 'large'"),
    ("--many some", "--many: 'some' should be a valid integer or should be 'all'\n"),
    ("--code ''", "--code: '' should have at least 1 character"),
    ("--code A", "--code: 'A' should match pattern '^[a-z]+$'"),
    ("--day soon", f"--day: 'soon' should be a valid date or datetime. {DATES}"),
    ("--day 2025-13-01", "month value is outside expected range"),
    ("--past 2999-01-01", "--past: '2999-01-01' should be in the past"),
    ("--file /nosuch", "--file: '/nosuch' does not point to a file"),
    ("--new /", "--new: '/' already exists"),
    ("--at here", "--at: 'here' should be a valid URL"),
    ("--price 1.234", "--price: '1.234' should have no more than 2 decimal places"),
    ("--tag 1 --tag x", "--tag: 'x' should be a valid integer"),
    ("--tag 1 --tag 2 --tag 3", "--tag: List should have at most 2 items after validation, not 3"),
    ("--pair 1", "--pair needs one more value"),
    ("--flag maybe", "--flag: 'maybe' should be a valid boolean"),
    ("--even 3", "--even: '3': only even ones"),
    ("--colour mauve", "--colour: 'mauve' is not a known colour"),
    ("--folder ~nosuchuser/x", "--folder: "),
    ("--dry --count 3", "--dry and --count exclude each other"),
    ("--max ten --day soon", "--max: 'ten' should be a valid integer; --day: 'soon' should be"),
    ("--maxx 3", "/typed has no option --maxx. Did you mean --max "),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return fake_app(tmp_path_factory.mktemp("home"), None, Typed())


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[o[:30] for o, _ in REFUSED])
def test_invalid_values_are_reported(app, options, message):
    shown = one_shot(app, f"/typed {options}")
    assert shown.code == 2
    assert shown.out == ""
    assert message in shown.err
    assert message in session(app, f"/typed {options}").err
    assert message in one_shot(app, f"/typed some text {options}").err, "options after the text"


def test_valid_values_are_converted(app):
    line = (
        "/typed --max 200 --level 2 --size large --many 3 --tag 1 --tag 2 --pair 1 --pair 2 "
        "--flag yes --price 1.5 --day 2025-01-31"
    )
    options = build(Typed.Options, {"level": "2", "size": "large", "many": "all"})
    assert (options.level, options.size, options.many) == (2, Size.LARGE, "all")
    shown = one_shot(app, line)
    assert (shown.code, shown.err) == (0, "")
    assert "level=2" in shown.out
    assert "pair=(1, 2)" in shown.out


def test_missing_and_unknown_options_are_refused():
    model = create_model("M", __base__=SkillOptions, min_votes=(int, Field(alias="min-votes")))
    with pytest.raises(UsageError, match="--min-votes is required"):
        build(model, {})
    with pytest.raises(UsageError, match=r"no option --min-vote\. Did you mean --min-votes\?"):
        build(model, {"min-votes": 1, "min-vote": 2})


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, 2.5, "2.5 should be a valid integer"),
        (int, None, "None should be a valid integer"),
        (int, 10**20, f"{10**20}: the number exceeds {sys.maxsize}"),
        (str, 3, "3 should be a valid string"),
        (Path, 3, "3 is not a valid path"),
        (list[int], "x", "'x' should be a valid list"),
        (Annotated[list[int], Field(min_length=1)], [], "--it: List should have at least 1 item"),
    ],
)
def test_json_values_of_a_wrong_type_are_refused(kind, value, message):
    """A model that calls tools gives JSON, not words."""
    model = create_model("M", __base__=SkillOptions, it=(kind, ...))
    with pytest.raises(UsageError, match=message):
        build(model, {"it": value})


def test_home_folders_are_expanded_in_repeated_options(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = create_model("M", __base__=SkillOptions, it=(tuple[Path, ...], ()))
    assert build(model, {"it": ["~/a", "b"]}).it == (tmp_path / "a", Path("b"))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/typed --kind ", {"short", "long"}),
        ("/typed --kind=", {"short", "long"}),
        ("/typed --kind=lo", {"long"}),
        ("/typed --level ", {"1", "2"}),
        ("/typed --size s", {"small"}),
        ("/typed --many ", {"all"}),
        ("/typed --dr", {"--dry"}),
    ],
)
def test_completion_offers_choices_and_switches(app, typed, offered):
    completer = LineCompleter(lambda: Catalogue(skills={"typed": Found(Typed(), "a test")}))
    found = completer.get_completions(Document(typed), CompleteEvent())
    assert {c.text for c in found} == offered


class Strict(Skill):
    """A skill with a required option."""

    name = "strict"
    summary = "wants a column"
    text = "none"

    class Options(SkillOptions):
        column: str = Field(description="the column of titles")

    def run(self, call: Call) -> Result:
        return Result(call.options.column)


def test_a_required_option_is_documented_and_enforced(tmp_path):
    app = fake_app(tmp_path, None, Strict())
    assert "the column of titles (required)" in one_shot(app, "/help strict").out
    shown = one_shot(app, "/strict")
    assert (shown.code, shown.err) == (2, "Error: --column is required\n")
    assert "--column is required" in session(app, "/strict --json").err
    assert app.dispatch("/help --json strict").result.data["options"]["required"] == ["column"]
    assert one_shot(app, "/strict --column x").out == "x\n"


def test_help_shows_what_each_option_takes(app):
    shown = one_shot(app, "/help typed").out
    for shape in ("--max N", "--many N|all", "--size small|large", "--level 1|2", "--dry\n"):
        assert f"  {shape}" in shown, shape


def test_the_json_schema_has_the_same_options(app):
    """The schema is given to models that call tools, and printed by `--json "/help NAME"`."""
    schema = app.dispatch("/help --json typed").result.data["options"]
    assert set(schema["properties"]) == {flag.key for flag in flags(Typed.Options).values()}
    assert schema["additionalProperties"] is False
    most = schema["properties"]["max"]
    assert (most["type"], most["minimum"], most["maximum"]) == ("integer", 1, 200)
    assert schema["properties"]["kind"]["enum"] == ["short", "long"]
    corpus = app.dispatch("/help --json corpus").result.data
    assert "filter" in corpus["subcommands"]


class ByUser(SkillOptions):
    name: str = Field("", description="user's name")
    limit: int = Field(5, description="users at most")


class ByDay(SkillOptions):
    limit: int = Field(7, description="days at most")


class Counting(Skill):
    """A skill whose subcommands have options of their own."""

    name = "counting"
    summary = "counts"
    text = "optional"
    subcommands = {"users": "by user", "days": "by day", "all": "all"}

    class Options(ByUser, ByDay):
        db: Path | None = Field(None, description="the database")

    variants = {"users": ByUser, "days": ByDay}

    def run(self, call: Call) -> Result:
        return Result(repr(call.options))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("users --limit 3 --db x", ""),
        ("--limit 3 days", ""),
        ("all --db x", ""),
        ("days --name x", "--name does not apply to days. It applies to users."),
        ("all --limit 3", "--limit does not apply to all. It applies to users and days."),
        ("--name x", "--name does not apply to /counting without a subcommand."),
    ],
)
def test_options_of_another_subcommand_are_refused(tmp_path, line, message):
    shown = one_shot(fake_app(tmp_path, None, Counting()), f"/counting {line}")
    assert (shown.code, message in shown.err) == (2 if message else 0, True)


def test_help_groups_options_by_subcommand():
    shown = skill_help(Counting())
    assert "Options:\n  --db PATH" in shown
    assert "Options for users:\n  --name VALUE  user's name\n  --limit N     users at most" in shown
    assert "Options for days:\n  --limit N  days at most" in shown


def test_help_on_a_command_names_the_options_of_subcommands(tmp_path):
    app = fake_app(tmp_path, None, Counting())
    shown = app.dispatch("/help counting").result.text
    assert "Options:\n  --db PATH" in shown
    assert "  users  --name VALUE --limit N\n  days   --limit N" in shown
    assert "users at most" not in shown


@pytest.mark.parametrize("line", ["/help counting users", "/counting users --help"])
def test_help_on_a_subcommand_has_its_options_alone(tmp_path, line):
    app = fake_app(tmp_path, None, Counting())
    result = app.dispatch(line).result
    assert result.text.startswith("Usage: /counting users [OPTION ...]")
    assert "Options for users:\n  --name VALUE  user's name\n  --limit N     users at most" in (
        result.text
    )
    assert "Options of /counting:\n  --db PATH" in result.text
    assert "days" not in result.text
    assert set(result.data["options"]) == {"name", "limit", "db"}


def test_help_on_a_subcommand_has_no_option_that_it_does_not_read(tmp_path):
    class Partial(Counting):
        shared = {"days": ()}

    app = fake_app(tmp_path, None, Partial())
    assert set(app.dispatch("/help counting days").result.data["options"]) == {"limit"}
    assert "--db" not in app.dispatch("/help counting days").result.text
    assert "--db" in app.dispatch("/help counting users").result.text
    plan, unregister = flags_for(Finetune(), "plan"), flags_for(Finetune(), "unregister")
    assert "--preset" in plan
    assert "--adapter" not in plan
    assert not unregister


def test_help_on_an_unknown_subcommand_is_an_error(tmp_path):
    app = fake_app(tmp_path, None, Counting())
    with pytest.raises(UsageError, match=r"'user'.*mean users"):
        app.dispatch("/help counting user")
    with pytest.raises(UsageError, match=r"'x'.*Subcommands: none"):
        app.dispatch("/help reload x")


def test_help_fits_a_narrow_terminal():
    shown = [
        skill_help(Finetune(), (), 40, brief=True),
        subcommand_help(Finetune(), "dataset", 40),
        commands([Finetune(), Corpus()], 40),
    ]
    assert max(map(len, "\n".join(shown).splitlines())) <= 40
    assert "  --gold PATH\n      a table annotated by people; may" in shown[1]


def test_completion_offers_the_options_of_the_subcommand():
    completer = LineCompleter(lambda: Catalogue(skills={"counting": Found(Counting(), "a test")}))
    general = set(flags(GeneralOptions))
    for line, own in (
        ("/counting users --", {"--name", "--limit", "--db"}),
        ("/counting days --", {"--limit", "--db"}),
        ("/counting all --", {"--db"}),
        ("/counting --", {"--name", "--limit", "--db"}),
    ):
        found = completer.get_completions(Document(line), CompleteEvent())
        assert {c.text for c in found} - general == own
