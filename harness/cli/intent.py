"""Recognize the skill that a line without a slash clearly requests.

A line such as "help" or "help NAME" runs a command of `COMMANDS`. In other lines, a skill is
recognized in two ways, and reported on stderr (`-> /name (auto)`):

    triggers     the line matches a regular expression of a plugin
    description  each content word of the request occurs in the name or the description of a prompt
                 skill, and the request begins with a verb of the description

The request is the line up to a line break, or to a colon at the end of a word. Without a matching
trigger, the line is a turn of chat if the request is a question or contains a negation, if several
descriptions match, or if the model itself can activate a matching skill. Plugins are never
activated by their description, since they may write files.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.agent_skills.prompt_skill import PromptSkill
from harness.api.options import GeneralOptions, build
from harness.api.skill import Skill
from harness.chat.active_skills import activatable
from harness.chat.tool_loop import tools_for
from harness.errors import HarnessError
from harness.models.pool import Choice, Models
from harness.plugins.catalogue import Found
from harness.support.text_input import is_file, unquote

if TYPE_CHECKING:
    from harness.cli.app import App

LEAST = 3
"""Minimum number of content words of a request; two words often occur together by chance."""
MOST = 25
"""Maximum number of words of a request; a longer text is not a request."""
LENGTH = 300
"""Maximum number of characters of a request."""
_POLITE = re.compile(
    r"(?:(?:please|kindly|now|can you|could you|would you|will you|i want you to|"
    r"i need you to|i would like you to|i'd like you to|let's)[\s,]+)+",
    re.I,
)
_QUESTION = re.compile(
    r"(?:what|how|why|who|whose|when|where|which|is|are|was|were|do|does|did|has|have|"
    r"should|must|may|might|shall|if|when)\b",
    re.I,
)
_NEGATION = re.compile(r"\b(?:not|never|no|without|don't|doesn't|instead|except)\b", re.I)
_OBJECT = re.compile(
    r"""`[^`]*`|"[^"]*"|https?://\S+|\S*[\\/]\S*|\S+\.[a-z]\w{0,5}\b|\b[\d.,]+\b""", re.I
)
_SAVE = re.compile(r"(?<!\s)\s++(?:save\s+to|-o)\s+(?:\"[^\"]*\"|'[^']*'|\S+)\s*\Z", re.I)
_NAMED = re.compile(r"""(?P<name>[\w-]+)\s+(?P<file>"[^"\n]+"|'[^'\n]+'|\S+)""")
"""Matches two words, which may be the name of a skill and the name of a file."""
_WORD = re.compile(r"[^\W\d_][\w']*")
_CLAUSE = re.compile(r"[.;:,!?]|\b(?:and|or|to|by|then)\b", re.I)
_COMMON = """
a an the this that these those it its of in on at for from with into as by to and or but my me i you
your our us we their them he she his her be so such some any all each every here there below above
following given please use using used when user users asks ask asked wants want wanted needs need
mentions whenever skill should
"""
_STOP = frozenset(_COMMON.split())


COMMANDS = {"help": "help", "?": "help", "exit": "exit", "quit": "exit"}
"""The commands that users may type without a slash, by the typed word."""


def command_for(app: App, line: str) -> tuple[str, str]:
    """Return the name of the skill that plain text requests, and the text for the skill.

    If the line does not clearly request a skill, the result is the name of /chat, and the whole
    line with the prefix "-- ". A skill that is recognized by a trigger or description is reported
    on stderr.
    """
    skills = app.catalogue.skills
    first, *others = line.split()
    if first.lower() in COMMANDS and (not others or others[0].removeprefix("/") in skills):
        return COMMANDS[first.lower()], " ".join(others)
    if match := triggered(skills, line):
        app.screen.notice(f"-> /{match[0]} (auto)")
        return match
    fitting = described(skills, line)
    # If the model can activate one of these skills, the model decides.
    if fitting and _activatable(app).isdisjoint(fitting):
        if len(fitting) == 1:
            app.screen.notice(f"-> /{fitting[0]} (auto)")
            return fitting[0], line.strip()
        names = " and ".join(f"/{name}" for name in fitting)
        app.screen.notice(f"{names} would fit: name one of them to use it")
    return app.chat.name, f"-- {line}"  # after `--`, text that looks like an option is text


def offer(app: App, line: str) -> str:
    """Return a line that could fulfil a plain-text request without a chat model, or ""."""
    skills = app.catalogue.skills
    wish = _POLITE.sub("", line.strip(), count=1)
    saved = _SAVE.search(wish)
    target = saved[0] if saved else ""
    wish = wish.removesuffix(target)
    named = _NAMED.match(wish)
    if named and named["name"].lower() in skills and is_file(unquote(named["file"])):
        return f"/{named['name'].lower()} {named['file']}{target}"
    wishes = (wish, f"{wish} -") if app.frontend.stdin is not None else (wish,)
    for text, name in itertools.product(wishes, skills):
        with contextlib.suppress(Exception):  # the code of a plugin may fail
            if offered := skills[name].skill.offer(text):
                return f"/{name} {offered}{target}"
    return ""


def converses(app: App, skill: Skill) -> bool:
    """Return True if a skill passes its text to the chat model."""
    return skill is app.chat or isinstance(skill, PromptSkill)


def _activatable(app: App) -> frozenset[str]:
    """Load the chat model, and return the names of the skills that this model can activate.

    The result is empty if no model can serve.
    """
    general = build(GeneralOptions, app.general)
    app.use_registry(general.registry)
    models = Models(app.pool, Choice(general.model, fallback=not general.no_fallback))
    try:
        tools = models.run("chat", lambda model: tools_for(model, app.toolbox))
    except HarnessError:  # the run reports this error
        return frozenset()
    return activatable(tools)


def triggered(skills: Mapping[str, Found], line: str) -> tuple[str, str] | None:
    """Return the name of the first skill with a matching trigger, and the text for this skill.

    The result is None if no trigger matches.
    """
    for name, found in skills.items():
        for trigger in found.triggers:
            match = re.match(trigger, line.strip(), re.IGNORECASE | re.DOTALL)
            if match:
                text = match.groupdict().get("text")
                return name, line.strip() if text is None else text
    return None


def described(skills: Mapping[str, Found], line: str) -> list[str]:
    """Return the names of the prompt skills whose descriptions match the line."""
    request = _request(line)
    if request is None:
        return []
    first, terms = request
    return [
        name
        for name, found in skills.items()
        if isinstance(skill := found.imported, PromptSkill)
        and skill.file.for_models
        and first in _verbs(skill.file.description)
        and terms <= {*map(_stem, _WORD.findall(f"{name} {skill.file.description}"))}
    ]


def _request(line: str) -> tuple[str, frozenset[str]] | None:
    """Return the stem of the first word of a request, and the stems of its content words.

    The result is None if the line is not a request.
    """
    head = _SAVE.sub("", re.split(r":\s|:\Z|\n", line.strip(), maxsplit=1)[0])
    if len(head) > LENGTH:
        return None
    request = _POLITE.sub("", head, count=1) if _POLITE.match(head) else head
    polite = request != head
    question = (request.endswith("?") and not polite) or _QUESTION.match(request)
    if question or _NEGATION.search(request):
        return None
    words = _WORD.findall(_OBJECT.sub(" ", request))
    terms = frozenset(_stem(word) for word in words if word.lower() not in _STOP)
    if not words or len(words) > MOST or len(terms) < LEAST:
        return None
    first = words[0].lower()
    if first in _STOP or first.endswith(("ing", "ed")) or re.search("[^s]s$", first):
        return None  # the line does not begin with an imperative
    return _stem(first), terms


def _verbs(description: str) -> set[str]:
    """Return the stems of the first words of a description's clauses, without common words."""
    firsts = (_WORD.search(clause) for clause in _CLAUSE.split(description))
    return {_stem(first[0]) for first in firsts if first and first[0].lower() not in _STOP}


def _stem(word: str) -> str:
    """Return the stem of a word; "writes", "writing" and "write" have the same stem."""
    word = word.lower().removesuffix("'s").strip("'")
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            if ending in ("ing", "ed") and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] + "i" if word.endswith("y") else word.replace("iz", "is")
