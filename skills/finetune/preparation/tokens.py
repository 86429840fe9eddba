"""Render rows with the base's own chat template, and tokenize them.

The loss is on the completion and the end token after it, and nothing else, whatever token is used
for padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from harness.errors import InputError
from skills.finetune.preparation.batches import Row
from skills.finetune.preparation.decisions import Decider
from skills.finetune.preparation.examples import Example, Messages


@dataclass(frozen=True, slots=True)
class Renderer:
    """Tokenizes rows.

    Attributes:
        tokenizer: of transformers, with the base's chat template.
        ends: the tokens that end an answer according to the base's configuration.
        decider: finds the decisions; None to weight none.
    """

    tokenizer: Any
    ends: frozenset[int] = frozenset()
    decider: Decider | None = None

    def prompt(self, example: Example) -> str:
        """Return the prompt as the engine renders it in use, without thinking.

        Raises:
            InputError: the template rejects the messages.
        """
        return self._rendered(example, example.messages, to_answer=True)

    def row_of(self, example: Example) -> Row:
        """Return the tokens of a row.

        The tokens of the prompt are those of the prompt alone, as in use.

        Raises:
            InputError: the template cannot be used, or prompt or completion contains a special
                token.
        """
        self._check_prompt(example)
        prompt = self.prompt(example)
        written = self._written(example, prompt)
        end = self._end(example, written[len(prompt) + len(example.completion) :])
        before, whole = self.tokens(prompt), self.tokens(prompt + example.completion)
        joined = whole[: len(before)] == before
        completion = whole[len(before) :] if joined else self.tokens(example.completion)
        special = {*self._stops, end, *self.tokenizer.all_special_ids} & {*completion}
        if special:
            raise InputError(
                f"its completion contains the token {self.text([min(special)])}, at which "
                "generation would stop",
                where=example.where,
                hint="Put a blank into it, as `/finetune dataset` does.",
            )
        ids = (*before, *completion, end)
        decisions = self._decisions(example, *((prompt, 0) if joined else ("", len(before))))
        return Row(example.id, ids, len(before), example.weight, decisions, example.source)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens only where the text contains them."""
        return cast("list[int]", self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: list[int] | tuple[int, ...]) -> str:
        """Return the text of tokens, including special ones."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def pieces(self, row: Row) -> list[tuple[str, bool]]:
        """Return the decoded parts of a row, each with whether it is in the loss."""
        start = row.completion_start
        return [(self.text(row.input_ids[:start]), False), (self.text(row.input_ids[start:]), True)]

    def _decisions(
        self, example: Example, before: str, tokens_before: int
    ) -> tuple[tuple[int, float, int], ...]:
        """Return the decisions of the completion, by position in the whole row.

        Args:
            before: the text that is tokenized together with the completion.
            tokens_before: the number of tokens before it that do not belong to `before`.
        """
        if self.decider is None:
            return ()
        text = example.completion
        encoded = self.tokenizer(before + text, add_special_tokens=False)
        found = []
        for decision, weight in self.decider.of(text):
            place = len(before) + decision.place
            at = encoded.char_to_token(place)
            token = encoded.input_ids[at]
            if decision.stated is not None:
                other = before + text[: decision.place] + decision.unstated
                written = self.tokenizer(other, add_special_tokens=False)
                unstated = written.input_ids[written.char_to_token(place)]
                if decision.stated and token == unstated:
                    continue  # it would be trained as "not stated"
                token = unstated
            found.append((tokens_before + at, weight, token))
        return tuple(found)

    @property
    def _stops(self) -> frozenset[int]:
        return self.ends | {self.tokenizer.eos_token_id}

    def _check_prompt(self, example: Example) -> None:
        """Raise InputError for a row that already contains a chat template."""
        for message in example.messages:
            if special := {*self.tokenizer.all_special_ids} & {*self.tokens(message["content"])}:
                raise InputError(
                    f"its prompt contains the token {self.text([min(special)])}, which only the "
                    "base's chat template may add",
                    where=example.where,
                    hint="Rows must not contain a template; `/finetune dataset` puts a blank into "
                    "such a token of an abstract.",
                )

    def _written(self, example: Example, prompt: str) -> str:
        """Return the whole row under the template.

        Raises:
            InputError: it does not start with the prompt and the completion.
        """
        answer = {"role": "assistant", "content": example.completion}
        written = self._rendered(example, [*example.messages, answer], to_answer=False)
        if not written.startswith(prompt + example.completion):
            raise InputError(
                "the base's chat template changes a prompt or its answer",
                where=example.where,
                hint="Remove blanks at the ends of the completion, or use another base.",
            )
        return written

    def _end(self, example: Example, after: str) -> int:
        """Return the token that the template writes after an answer.

        Raises:
            InputError: it does not stop generation.
        """
        ids = self.tokens(after)
        if not ids or ids[0] not in self._stops:
            found = repr(self.text(ids[:1])) if ids else "nothing"
            raise InputError(
                f"the base's chat template writes {found} after an answer, which does not stop "
                "generation",
                where=example.where,
                hint="Use the base that was tuned to chat, or correct its chat template.",
            )
        return ids[0]

    def _rendered(self, example: Example, messages: Messages, *, to_answer: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages,
                    add_generation_prompt=to_answer,
                    tokenize=False,
                    enable_thinking=False,
                )
            )
        except TemplateError as exc:
            raise InputError(
                f"the base's chat template rejects the messages: {exc}",
                where=example.where,
                hint="Use another base, or rows without what it rejects.",
            ) from exc
