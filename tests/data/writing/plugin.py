"""/summarize: summarize a text, or the file it names, with the chat model or its own sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from pydantic import Field

from harness import (
    Call,
    InvalidReply,
    Message,
    ModelUnavailable,
    Result,
    ServedModel,
    Skill,
    SkillOptions,
    hookimpl,
)

INSTRUCTIONS = """\
Summarize the text of the user in at most {sentences} sentences. Say only what the text itself says.
Answer with the sentences alone."""
MAX_TOKENS = 400


class SkillSummarize(Skill):
    name = "summarize"
    summary = "Summarize a text, or the file it names, in a few sentences"
    usage = "TEXT|FILE"
    saves = (".md", ".txt")

    # -- start options --
    class Options(SkillOptions):
        sentences: int = Field(3, ge=1, le=20, description="how many sentences at most")
        language: str = Field("", description="the language to answer in (the text's own)")

    # -- end options --

    def run(self, call: Call) -> Result:
        # -- start run --
        instructions = INSTRUCTIONS.format(sentences=call.options.sentences)
        if call.options.language:
            instructions += f" Answer in {call.options.language}."
        # -- end run --
        text = call.read_text()
        messages = Message("system", instructions), Message("user", text)

        def answer(model: ServedModel) -> str:
            request = model.request(messages=messages, max_tokens=MAX_TOKENS)
            model.check_fits(request)
            return model.generate(request, call.screen.emit).text.strip()

        by = "model"
        try:
            gist = call.models.run("chat", answer)
        except ModelUnavailable:
            if call.models.choice.model:  # named with --model
                raise
            call.screen.notice("no model can chat: these are sentences of the text itself")
            gist, by = central_sentences(text, call.options.sentences), "sentences"
        if not gist:
            raise InvalidReply("the model gave no answer", hint="Try it with --model NAME.")
        file = gist + "\n"
        renderers = {".md": lambda: file, ".txt": lambda: file}
        return Result(gist, {"summary": gist, "by": by}, renderers)


def central_sentences(text: str, most: int) -> str:
    """Return the sentences whose words occur most often in the text, in their order."""
    parts = re.split(r"(?<=[.!?])\s|\n\s*\n", text)
    sentences = [" ".join(part.split()) for part in parts if part.strip()]
    counts = Counter(re.findall(r"\w{4,}", text.lower()))

    def weight(sentence: str) -> float:
        found = re.findall(r"\w{4,}", sentence.lower())
        return sum(counts[word] for word in found) / max(len(found), 1)

    chosen = sorted(sentences, key=weight, reverse=True)[:most]
    return " ".join(sentence for sentence in sentences if sentence in chosen)


@hookimpl
def register_skills(register: Callable[[Skill], None]) -> None:
    register(SkillSummarize())
