"""Rows as tokens: the base's own chat template around them, and where the loss begins.

Labels go by position: the loss is on the completion and on the end token after it, and on nothing
else, whatever token pads a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from harness.errors import InputError
from skills.finetune.data.rows import Source
from skills.finetune.preparation.decisions import Decider
from skills.finetune.preparation.examples import Example, Messages


@dataclass(frozen=True, slots=True)
class Tokens:
    """A row as it is trained: the loss is on `input_ids[completion_start:]`.

    The last of them is the end token, which stands nowhere else in the completion.

    Attributes:
        decisions: of each token that decides whether a move is stated, its place in `input_ids`,
            what the decision counts (`Decisions` of the recipe), and the token that says it is not.
    """

    id: str
    source: Source
    weight: float
    input_ids: list[int]
    completion_start: int
    decisions: list[tuple[int, float, int]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes tokens of rows.

    Attributes:
        tokenizer: of transformers, with the base's chat template.
        ends: the tokens that end an answer by the base's configuration, beside the tokenizer's own.
        decider: finds the decisions; None: none counts beside its token.
    """

    tokenizer: Any
    ends: frozenset[int] = frozenset()
    decider: Decider | None = None

    def prompt(self, row: Example) -> str:
        """What the model is given, as the engine renders it in use: thinking is off.

        Raises:
            InputError: the template refuses the messages.
        """
        return self._rendered(row, row.messages, to_answer=True)

    def tokens_of(self, row: Example) -> Tokens:
        """The tokens of a row.

        The prompt's are those that it has alone, as in use, whatever comes after it.

        Raises:
            InputError: the template does not fit, or prompt or completion holds a special token.
        """
        self._check_prompt(row)
        prompt = self.prompt(row)
        written = self._written(row, prompt)
        end = self._end(row, written[len(prompt) + len(row.completion) :])
        given, whole = self.tokens(prompt), self.tokens(prompt + row.completion)
        joined = whole[: len(given)] == given
        completion = whole[len(given) :] if joined else self.tokens(row.completion)
        if special := {*self._stops, end, *self.tokenizer.all_special_ids} & {*completion}:
            raise InputError(
                f"its completion holds the token {self.text([min(special)])}, at which a model "
                "would take it for ended",
                where=row.where,
                hint="Put a blank into it, as `/finetune dataset` does.",
            )
        ids = [*given, *completion, end]
        assert 0 < len(given) < len(ids) - 1, f"{row.id}: there is no prompt or no completion"
        assert ids.index(end, len(given)) == len(ids) - 1, f"{row.id}: the end token is not the end"
        if joined:
            same = self.tokens(written)[: len(ids)] == ids
            assert same, f"{row.id}: prompt, completion and end are not what the template makes"
        decisions = self._decisions(row, *((prompt, 0) if joined else ("", len(given))))
        return Tokens(row.id, row.source, row.weight, ids, len(given), decisions)

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text; all special ones are those that it has written out."""
        return cast("list[int]", self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: list[int]) -> str:
        """The text of tokens, special ones as well."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def pieces(self, row: Tokens) -> list[tuple[str, bool]]:
        """A row decoded: the text of its tokens, and whether they are in the loss."""
        start = row.completion_start
        return [(self.text(row.input_ids[:start]), False), (self.text(row.input_ids[start:]), True)]

    def _decisions(
        self, row: Example, before: str, tokens_before: int
    ) -> list[tuple[int, float, int]]:
        """Where the completion decides, by place in the whole row.

        Args:
            before: what the completion's tokens are made together with.
            tokens_before: the tokens before it that are not of `before`.
        """
        if self.decider is None:
            return []
        text, not_stated = row.completion, self.decider.framework.not_stated
        encoded = self.tokenizer(before + text, add_special_tokens=False)
        found = []
        for place, weight, stated in self.decider.places(text):
            other = self.tokenizer(before + text[:place] + not_stated, add_special_tokens=False)
            token = other.input_ids[other.char_to_token(len(before) + place)]
            at = encoded.char_to_token(len(before) + place)
            if stated and encoded.input_ids[at] == token:
                continue  # the decision would be trained as its opposite
            found.append((tokens_before + at, weight, token))
        return found

    @property
    def _stops(self) -> frozenset[int]:
        return self.ends | {self.tokenizer.eos_token_id}

    def _check_prompt(self, row: Example) -> None:
        """Refuse a row that has a chat template around it already: it would have two.

        Raises:
            InputError: a message of it holds a special token.
        """
        for message in row.messages:
            if special := {*self.tokenizer.all_special_ids} & {*self.tokens(message["content"])}:
                raise InputError(
                    f"its prompt holds the token {self.text([min(special)])}, which is for the "
                    "base's chat template to write",
                    where=row.where,
                    hint="Rows stand without a template; `/finetune dataset` puts a blank into "
                    "such a token of an abstract.",
                )

    def _written(self, row: Example, prompt: str) -> str:
        """The whole row under the template.

        Raises:
            InputError: it does not begin with the prompt and the completion.
        """
        answer = {"role": "assistant", "content": row.completion}
        written = self._rendered(row, [*row.messages, answer], to_answer=False)
        if not written.startswith(prompt + row.completion):
            raise InputError(
                "the base's chat template does not write a prompt and its answer as they are",
                where=row.where,
                hint="Take off blanks at the ends of the completion, or take another base.",
            )
        return written

    def _end(self, row: Example, after: str) -> int:
        """The token that the template writes after an answer.

        Raises:
            InputError: it is none that stops the model.
        """
        ids = self.tokens(after)
        if not ids or ids[0] not in self._stops:
            found = repr(self.text(ids[:1])) if ids else "nothing"
            raise InputError(
                f"the base's chat template writes {found} after an answer, which stops no model",
                where=row.where,
                hint="Take the base that was tuned to chat, or correct its chat template.",
            )
        return ids[0]

    def _rendered(self, row: Example, messages: Messages, *, to_answer: bool) -> str:
        from jinja2 import TemplateError

        options: Mapping[str, Any] = {"tokenize": False, "enable_thinking": False}
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, add_generation_prompt=to_answer, **options
                )
            )
        except TemplateError as exc:
            raise InputError(
                f"the base's chat template refuses the messages: {exc}",
                where=row.where,
                hint="Take another base, or rows without what it refuses.",
            ) from exc
