"""Read frameworks of moves, and validate the moves of annotations.

`nanda()` returns the built-in framework, and `load(path)` reads a framework from a file. The option
`--framework` names a file or a framework of a plugin. A framework defines the pydantic model of an
annotation.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)

from harness.errors import InputError
from harness.support import yaml_files
from skills.nanda.text import flatten, set_of

if TYPE_CHECKING:
    from harness.models.registry import Registry

NANDA = Path(__file__).with_name("nanda.yaml")
TASK = "annotate"
"""The task of models that annotate with the built-in framework, or with every framework."""
RESERVED = set_of(
    "arxiv_id paper_id id title abstract anchors confidence uncertain suggestions sections checks"
    " provenance"
)
"""Names that a move cannot have, since records or tables of annotations use them as keys."""
MOST_SENTENCES = 3
"""Maximum number of sentences that a model may give as the origin of a move."""
_COLUMNS = frozenset({"authors", "published", "categories", "support"})
"""Other names that a move cannot have: columns in .parquet files of annotations."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n]+$")]

FrameworkOption = Annotated[
    Path | None,
    Field(
        description="a framework whose moves replace the eight moves of Nanda: a YAML file, or "
        "the name of a framework from a plugin",
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Move(_Strict):
    """A move of a framework.

    Attributes:
        name: the key of the move in records.
        label: the name of the move in the tagged completion and on pages.
        definition: the meaning of the move, for people.
        write: the instruction for people and models that write the move.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    label: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9 -]{0,39}$")
    definition: Line
    write: Line

    @model_validator(mode="after")
    def _usable_name(self) -> Self:
        if self.name in RESERVED | _COLUMNS or hasattr(BaseModel, self.name):
            raise ValueError(f"a move cannot be named {self.name!r}, which is reserved")
        return self


class Framework(_Strict):
    """A set of moves, and the prompts that explain the moves to a model.

    Attributes:
        not_stated: the exact value of a move that the abstract does not state.
        not_stated_variants: values that are replaced by `not_stated`; case and a final full stop
            are ignored.
        max_chars: maximum number of characters of a move in the schema and the grammar.
        max_words: maximum number of words of an abstract.
        instructions, rules: parts of the prompt for a general model, before and after the moves.
        tuned_instructions: the prompt for a model tuned on this framework.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: Line
    title: Line
    not_stated: Line = "Not stated."
    not_stated_variants: tuple[Line, ...] = ()
    max_chars: int = Field(320, ge=20, le=2000)
    max_words: int = Field(1500, ge=50)
    moves: tuple[Move, ...] = Field(min_length=1)
    instructions: str = Field(min_length=1)
    rules: tuple[Line, ...] = ()
    tuned_instructions: str = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what in ("name", "label"):
            values = [str(getattr(move, what)).casefold() for move in self.moves]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"two moves have the {what} {sorted(twice)[0]!r}")
        if len(self.not_stated) > self.max_chars:
            raise ValueError("not_stated is longer than max_chars")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(move.name for move in self.moves)

    @property
    def labels(self) -> dict[str, str]:
        """The label of each move by its name."""
        return {move.name: move.label for move in self.moves}

    @property
    def longest(self) -> int:
        """Maximum number of characters of a move in an annotation: 480 for a `max_chars` of 320.

        The maximum exceeds `max_chars`, since a move may quote a long sentence: 2% of the sentences
        of gold abstracts have more than 320 characters, and 0.2% have more than 480.
        """
        return longest_quote(self.max_chars)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content of the framework, without comments and layout of the file."""
        return sha256_of(self.model_dump(mode="json"))

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and digest of the framework, for provenance."""
        return {"name": self.name, "version": self.version, "digest": self.digest}

    def canonical(self, value: str) -> str:
        """Return `value` on one line, or `not_stated` if `value` is a variant of `not_stated`."""
        text = flatten(value)
        variants = (self.not_stated, *self.not_stated_variants)
        return self.not_stated if _bare(text) in map(_bare, variants) else text

    def written(self, moves: Mapping[str, str]) -> dict[str, str]:
        """Return the canonical text of each move (see `canonical`), in the order of the framework.

        A missing move gets the text "".
        """
        return {name: self.canonical(moves.get(name, "")) for name in self.names}

    def stated(self, moves: Mapping[str, str]) -> dict[str, str]:
        """Return the text of each stated move of a record, in the order of the framework."""
        return {name: moves[name] for name in self.names if moves[name] != self.not_stated}

    def annotation_model(self) -> type[BaseModel]:
        """Return the pydantic model `Annotation`: one required string for each move, in order.

        The model normalizes values with `canonical`, and rejects empty and too long values. Each
        framework has one model, which is cached.
        """
        return _annotation_model(self)

    def valid_moves(self, moves: Mapping[str, Any], where: str | None = None) -> dict[str, str]:
        """Return the validated moves by name, each on one line, in the order of the framework.

        Args:
            moves: the moves by name; keys that are not moves are ignored.
            where: the row that the moves come from, for messages.

        Raises:
            InputError: a move is missing, empty or too long; the message has all problems.
        """
        given = {name: moves[name] for name in self.names if name in moves}
        try:
            return self.annotation_model().model_validate(given).model_dump()
        except ValidationError as exc:
            raise InputError(
                problems(exc),
                where=where,
                hint=f'Write "{self.not_stated}" for a move that the abstract does not state.',
            ) from exc


def longest_quote(max_chars: int) -> int:
    """Return `Framework.longest` for a value of `Framework.max_chars`."""
    return max_chars * 3 // 2


def problems(invalid: ValidationError) -> str:
    """Return the validation errors of moves as text for people and models."""
    words = {
        "missing": "is missing",
        "extra_forbidden": "is not a move",
        "string_type": "is not a string",
        "string_too_short": "is empty",
        "string_too_long": "is longer than {max_length} characters",
    }
    return "; ".join(
        f"{'.'.join(map(str, error['loc']))[:60]} "
        + words.get(error["type"], "{msg}").format(msg=error["msg"], **error.get("ctx", {}))
        for error in invalid.errors()
    )


def load(path: Path) -> Framework:
    """Return the framework that a YAML file defines.

    Raises:
        InputError: the file is not valid; the message has the line number.
    """
    return yaml_files.load(path, Framework, InputError)


@functools.cache
def nanda() -> Framework:
    """Return the built-in framework of eight moves."""
    return load(NANDA)


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a value as canonical JSON: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _annotation_model(framework: Framework) -> type[BaseModel]:
    def tidy(value: object) -> object:
        return framework.canonical(value) if isinstance(value, str) else value

    limits = StringConstraints(min_length=1, max_length=framework.longest)
    text = Annotated[str, limits, BeforeValidator(tidy)]  # `tidy` runs before `limits` are checked
    fields: dict[str, Any] = {
        move.name: (text, Field(description=move.definition)) for move in framework.moves
    }
    return create_model(
        "Annotation",
        __config__=ConfigDict(extra="forbid", frozen=True),
        __doc__=f"The moves of the {framework.title}.",
        __module__=__name__,
        **fields,
    )


def _bare(text: str) -> str:
    return text.casefold().strip().removesuffix(".").rstrip()


def framework_file(given: Path | None, named: Mapping[str, Path]) -> Path | None:
    """Return the file of the selected framework, or None for the built-in framework.

    Args:
        given: the value of `--framework`: a name or a path. If a plugin provides a framework of
            this name, a file of this name is ignored.
        named: the files of the frameworks that plugins provide, by name.

    Raises:
        InputError: the value is a name, and there is no framework and no file of this name.
    """
    if given is None:
        return None
    if (path := named.get(str(given))) is not None:
        return path
    if len(given.parts) == 1 and not given.suffix and not given.exists():
        hint = f"Plugins provide {', '.join(sorted(named)) or 'no framework'}."
        raise InputError(f"there is no framework or file {given}", hint=hint)
    return given


def selected_framework(given: Path | None, named: Mapping[str, Path]) -> Framework:
    """Return the selected framework, by default the built-in framework.

    Args:
        given: the value of `--framework`, a name or a path; None without this option.
        named: the files of the frameworks that plugins provide, by name.

    Raises:
        InputError: the framework does not exist, or its file is not valid.
    """
    path = framework_file(given, named)
    return nanda() if path is None else load(path)


def task_with(framework: Framework) -> str:
    """Return the task of models that annotate only with this framework: "annotate/NAME".

    The task for the built-in framework is "annotate".
    """
    return TASK if framework.digest == nanda().digest else f"{TASK}/{framework.name}"


def task_of(framework: Framework, registry: Registry) -> str:
    """Return the task of the models in the registry that annotate with a framework.

    The task is "annotate/NAME" if a model has this task, and "annotate" otherwise.
    """
    own = task_with(framework)
    return own if any(own in entry.tasks for entry in registry.models.values()) else TASK
