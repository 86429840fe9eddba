"""Whatever is wrong with an option is said in the words of the command line, by both doors."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, get_args
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
from pydantic_core.core_schema import ErrorType

from harness import Call, Result, Skill, SkillOptions, UsageError
from harness.api.options import build, flags
from harness.api.validation_messages import WORDS
from harness.cli.completion import LineCompleter
from harness.plugins.catalogue import Catalogue, Found
from harness.testing import fake_app, one_shot, session


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


def only_even(value: int) -> int:
    assert value % 2 == 0, "only even ones"
    return value


def own_words(value: str) -> str:
    raise ValueError(f"{value!r} is no colour that I know")


class Typed(Skill):
    """One option of each kind."""

    name = "typed"
    summary = "takes all there is"
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


REFUSED = [
    ("--max ten", "--max: 'ten' is not a number. It takes a whole number from 1 to 200."),
    ("--max 2.5", "--max: '2.5' is not a whole number. It takes a whole number from 1 to 200."),
    ("--max 0", "--max: '0' is less than 1. It takes a whole number from 1 to 200."),
    ("--max 201", "--max: '201' is more than 200. It takes a whole number from 1 to 200."),
    ("--max ''", "--max: '' is not a number. It takes a whole number from 1 to 200."),
    (f"--count {'9' * 5000}", f"--count: '{'9' * 76}... is too large a number"),
    ("--count x", "--count: 'x' is not a number. It takes a whole number."),
    ("--above 1", "--above: '1' is not more than 1. It takes a whole number above 1 below 9."),
    ("--above 9", "--above: '9' is not less than 9. It takes a whole number above 1 below 9."),
    ("--share 2", "--share: '2' is more than 1. It takes a number from 0 to 1."),
    ("--max 3 --max 4", "--max is given twice"),
    ("--dry --dry", "--dry is given twice"),
    ("--share half", "--share: 'half' is not a number. It takes a number from 0 to 1."),
    ("--share inf", "--share: 'inf' is not a finite number"),
    ("--third 4", "--third: '4' is no multiple of 3"),
    ("--kind shrot", "--kind: 'shrot' is none of 'short' or 'long'. Did you mean short?"),
    ("--level 3", "--level: '3' is none of 1 or 2"),
    ("--size tiny", "--size: 'tiny' is none of 'small' or 'large'"),
    ("--many some", "--many: 'some' is not a number and is not 'all'\n"),
    ("--size Size.SMALL", "--size: 'Size.SMALL' is none of 'small' or 'large'"),
    ("--code ''", "--code: '' is empty"),
    ("--code abcde", "--code: 'abcde' is longer than 4 characters"),
    ("--code A", "--code: 'A' is not of the form ^[a-z]+$"),
    ("--longer a", "--longer: 'a' is shorter than 2 characters"),
    ("--day soon", "--day: 'soon' is no date; write 2025-01-31"),
    ("--day 2025-13-01", "--day: '2025-13-01' is no date; write 2025-01-31"),
    ("--day 2025-01-01T12:30", "--day: '2025-01-01T12:30' is a time, and a date is wanted"),
    ("--past 2999-01-01", "--past: '2999-01-01' is not in the past"),
    ("--future 1999-01-01", "--future: '1999-01-01' is not in the future"),
    ("--moment soon", "--moment: 'soon' is no time; write 2025-01-31T12:30"),
    ("--zoned 2025-01-01T00:00", "--zoned: '2025-01-01T00:00' has no time zone"),
    ("--unzoned 2025-01-01T00:00Z", "--unzoned: '2025-01-01T00:00Z' has a time zone"),
    ("--hour noon", "--hour: 'noon' is no time of day; write 12:30"),
    ("--length long", "--length: 'long' is no length of time"),
    ("--file /nosuch", "is not a file"),
    ("--folder /nosuch", "is not a folder"),
    ("--new /", "exists already"),
    ("--at here", "--at: 'here' is no address; write https://example.org"),
    ("--at ftp://x.org", "--at: 'ftp://x.org' does not begin with 'http' or 'https'"),
    ("--key x", "--key: 'x' is no UUID"),
    ("--price x", "--price: 'x' is not a number"),
    ("--price 1.234", "--price: '1.234' has more than 2 digits after the point"),
    ("--tag 1 --tag x", "--tag: 'x' is not a number"),
    ("--tag 1 --tag 2 --tag 3", "--tag is given 3 values, and 2 at most"),
    ("--pair 1", "--pair needs one value more"),
    ("--flag maybe", "--flag: 'maybe' is neither true nor false"),
    ("--extra {x", "--extra: '{x' is not JSON"),
    ("--even 3", "--even: '3': only even ones"),
    ("--colour mauve", "--colour: 'mauve' is no colour that I know"),
    ("--folder ~nosuchuser/x", "--folder: "),
    ("--dry --count 3", "--dry and --count exclude each other"),
    ("--max ten --day soon", "--max: 'ten' is not a number; --day: 'soon' is no date"),
    ("--maxx 3", "/typed has no option --maxx. Did you mean --max "),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return fake_app(tmp_path_factory.mktemp("home"), None, Typed())


@pytest.mark.parametrize(("options", "said"), REFUSED, ids=[o[:30] for o, _ in REFUSED])
def test_a_wrong_value_is_told_by_both_doors_in_plain_words(app, options, said):
    shown = one_shot(app, f"/typed {options}")
    assert shown.code == 2
    assert shown.out == ""
    assert said in shown.err
    assert "Input" not in shown.err
    assert "string" not in shown.err
    assert said in session(app, f"/typed {options}").err
    assert said in one_shot(app, f"/typed some text {options}").err, "after the text as before it"


def test_what_is_right_is_taken(app):
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


def test_a_value_that_is_missing_and_an_option_that_is_not_there():
    model = create_model("M", __base__=SkillOptions, min_votes=(int, Field(alias="min-votes")))
    with pytest.raises(UsageError, match="--min-votes is required"):
        build(model, {})
    with pytest.raises(UsageError, match=r"no option --min-vote\. Did you mean --min-votes\?"):
        build(model, {"min-votes": 1, "min-vote": 2})


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, 2.5, "2.5 is not a whole number"),
        (int, None, "None is not a whole number"),
        (float, [], r"\[\] is not a number"),
        (bool, [], r"\[\] is neither true nor false"),
        (str, 3, "3 is not text"),
        (Path, 3, "3 is not a path"),
        (date, [], r"\[\] is no date"),
        (list[int], "x", "'x' is no list"),
        (dict[str, int], "x", "'x' is no object"),
        (Annotated[list[int], Field(min_length=1)], [], "--it is given no value, and 1 at least"),
        (complex, "x", "'x' is not a number"),
    ],
)
def test_values_that_only_a_program_can_give(kind, value, said):
    """A model that calls skills gives JSON, not words."""
    model = create_model("M", __base__=SkillOptions, it=(kind, ...))
    with pytest.raises(UsageError, match=said):
        build(model, {"it": value})


def test_the_words_are_of_errors_that_there_are():
    ours = {"path_type", "path_not_file", "path_not_directory", "path_exists"}
    assert WORDS.keys() <= {*get_args(ErrorType), *ours}


def test_a_home_folder_is_found_within_a_repeated_option(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = create_model("M", __base__=SkillOptions, it=(tuple[Path, ...], ()))
    assert build(model, {"it": ["~/a", "b"]}).it == (tmp_path / "a", Path("b"))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/typed --kind ", {"short", "long"}),
        ("/typed --kind=", {"--kind=short", "--kind=long"}),
        ("/typed --kind=lo", {"--kind=long"}),
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
    """Cannot do without its option."""

    name = "strict"
    summary = "wants a column"
    text = "none"

    class Options(SkillOptions):
        column: str = Field(description="the column of titles")

    def run(self, call: Call) -> Result:
        return Result(call.options.column)


def test_an_option_that_is_required_is_told_and_asked_for(tmp_path):
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


def test_the_schema_is_of_the_same_options(app):
    """What a model is given that calls skills, and what `--json "/help NAME"` prints."""
    schema = app.dispatch("/help --json typed").result.data["options"]
    assert set(schema["properties"]) == {flag.key for flag in flags(Typed.Options).values()}
    assert schema["additionalProperties"] is False
    most = schema["properties"]["max"]
    assert (most["type"], most["minimum"], most["maximum"]) == ("integer", 1, 200)
    assert schema["properties"]["kind"]["enum"] == ["short", "long"]
    corpus = app.dispatch("/help --json corpus").result.data
    assert "filter" in corpus["subcommands"]
