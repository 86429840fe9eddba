"""/summarize: summarize a text, or the file it names, with the producer model."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from harness import Call, InvalidReply, Message, Result, ServedModel, Skill, SkillOptions, hookimpl

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
        messages = Message("system", instructions), Message("user", call.read_text())

        def answer(model: ServedModel) -> str:
            request = model.request(messages=messages, max_tokens=MAX_TOKENS)
            model.check_fits(request)
            return model.generate(request, call.screen.emit).text.strip()

        gist = call.models.run("chat", answer)
        if not gist:
            raise InvalidReply("the model gave no answer", hint="Try it with --model NAME.")
        file = gist + "\n"
        renderers = {".md": lambda: file, ".txt": lambda: file}
        return Result(gist, {"summary": gist}, renderers)


@hookimpl
def register_skills(register: Callable[[Skill], None]) -> None:
    register(SkillSummarize())
