"""Hostile SKILL.md files, registries, recipes and frameworks, and what reading them results in.

Half are valid documents with a few changes, the others text or bytes of YAML's own characters.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml
from hostile_files import DOCUMENTS, laughs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.agent_skills import skill_md
from harness.errors import InputError, RegistryError, UsageError
from harness.models import registry
from harness.settings import CODE_ROOT
from skills.finetune import recipe
from skills.nanda import framework

SHIPPED = {
    "registry": CODE_ROOT / "models" / "registry.yaml",
    "recipe": CODE_ROOT / "skills" / "finetune" / "recipes" / "smollm2-cpu.yaml",
    "framework": framework.NANDA,
    "front matter": CODE_ROOT / "skills" / "finetune" / "SKILL.md",
}
FRONT_MATTER = {
    "name": "fuzzed",
    "description": "Counts words. Use when somebody asks how long a text is.",
    "license": "Apache-2.0",
    "compatibility": "any",
    "metadata": {"author": "somebody", "version": "1.0"},
    "allowed-tools": "Read Bash(git:*)",
}
SECONDS = 10.0
"""CPU time that no document may take; the slowest of 40,000 took under a second."""
READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "front matter": (
        lambda path: (skill_md.read(path), skill_md.body_of(path.read_bytes(), path)),
        UsageError,
    ),
    "registry": (lambda path: registry.load(path), RegistryError),
    "recipe": (lambda path: recipe.load_recipe(path).digest, InputError),
    "framework": (lambda path: framework.load(path).digest, InputError),
}
"""For each kind, what reads a file of it, and the one error that it may raise."""

# Texts that have caused errors in readers of YAML; `DOCUMENTS` has those that exceed a limit.
ODD = [
    "", "null", "~", "yes", ".nan", ".inf", "-.inf", "-0", "1e999", "0x" + "f" * 300, "0o7", "1_0",
    "9" * 5000, "1" + ":59" * 2000, "!!float 1" + ":1" * 300 + ".5", "2001-02-30", "2001-12-14",
    "2001-12-14t21:59:43.10+99:99", "!!timestamp {=: x}", "!!int {=: 5}", "!!binary '\u00e9'",
    "!!binary =", "!!set {a, b}", "!!omap [a: b]", "!!omap [1]", "!!pairs [a: b]", "!!str [a]",
    "!!map a", "!!python/object/apply:os.abort []", "!local x", "! x", "&a [*a]", "*missing", "<<",
    "{<<: 5}", "{<<: [5]}", "{<<: {<<: {a: b}}}", "{=: x}", "? [a]", "{[a]: b}", "{? {a: b} : c}",
    '"\\ud800"', '"\\U0010ffff"', '"\\xff\\0"', "\ufeff", "\u2028", "\x85", "\x07", "\0", "\t- a",
    "%YAML 9.9", "---", "...", "--- a\n--- b", "|\n a", ">-\n\n a", "'", '"', "[", "{", "a: b: c",
    "x" * 70_000, "x: " * 30, "- " * 60, "? " * 60, "[" * 60 + "]" * 60, "{a: " * 40, "#" * 3000,
]  # fmt: skip
_words = st.sampled_from([*ODD, *DOCUMENTS.values(), laughs(5, 4)])
_marks = st.text(alphabet="-:?[]{},&*!|>'\"%@`#\\ \n\t~<=.0123456789aexY\r\ufeff\x85", max_size=80)
_keys = st.one_of(st.sampled_from(["name", "models", "<<", "=", "version"]), st.text(max_size=8))
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.dates()
    | st.binary(max_size=8)
    | st.builds(lambda n: "x" * n, st.sampled_from([70, 600, 3000, 70_000])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


def documents(kind: str) -> st.SearchStrategy[bytes]:
    """Return the strategy of the files of one kind."""
    text = FRONT_MATTER if kind == "front matter" else yaml.safe_load(SHIPPED[kind].read_bytes())
    written = yaml.safe_dump(text, sort_keys=False, allow_unicode=True)
    changed = st.lists(_values, min_size=1, max_size=3).flatmap(partial(_changed, text))
    body = st.one_of(
        changed.map(_dumped),
        st.lists(st.tuples(st.integers(0, len(written)), _words | _marks), max_size=3).map(
            partial(_inserted, written)
        ),
        st.builds(lambda key, value: f"{key}: {value}\n{written}", _keys, _words),
        _values.map(_dumped),
        st.lists(_words | _marks, max_size=6).map("\n".join),
        st.text(max_size=200),
    )
    encoded = body.map(lambda text: text.encode("utf-8", "surrogatepass"))
    if kind == "front matter":
        encoded = encoded.map(lambda inner: b"---\n" + inner + b"\n---\nCount the words.\n")
    return st.one_of(encoded, encoded, encoded, encoded.flatmap(_damaged), st.binary(max_size=300))


def _changed(document: object, values: list[object]) -> st.SearchStrategy[object]:
    """Replace one place of the document by each value."""
    places = st.lists(st.integers(0, 10**6), min_size=len(values), max_size=len(values))

    def change(numbers: list[int]) -> object:
        found = document
        for number, value in zip(numbers, values, strict=True):
            found = _replaced(found, number, value)
        return found

    return places.map(change)


def _replaced(document: object, number: int, value: object) -> object:
    """Return the document with the value at the place that `number` leads to."""
    if isinstance(document, dict) and document and number % 7:
        key = list(document)[number % len(document)]
        return {**document, key: _replaced(document[key], number // 7, value)}
    if isinstance(document, list) and document and number % 7:
        place = number % len(document)
        inner = _replaced(document[place], number // 7, value)
        return [*document[:place], inner, *document[place + 1 :]]
    return value


def _dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _inserted(text: str, parts: list[tuple[int, str]]) -> str:
    for place, part in parts:
        text = text[:place] + part + text[place:]
    return text


def _damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Return strategies of one changed byte, a cut, Windows line ends and a byte order mark."""
    place = st.integers(0, max(0, len(content) - 1))
    return st.one_of(
        st.builds(lambda at, byte: content[:at] + bytes([byte]) + content[at + 1 :], place,
                  st.integers(0, 255)),
        place.map(lambda at: content[:at]),
        st.sampled_from([content.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + content,
                         content.replace(b"\n", b"\r"), content.decode(errors="replace").encode(
                             "utf-16")]),
    )  # fmt: skip


@dataclass
class Tally:
    """What became of the documents of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_document: bytes = b""

    def add(self, outcome: str, seconds: float, document: bytes) -> None:
        self.outcomes[outcome] += 1
        if seconds > self.slowest:
            self.slowest, self.slowest_document = seconds, document


def outcome(kind: str, path: Path) -> str:
    """Read a file and return "read" or the reason of the error; any other error is raised."""
    read, error = READERS[kind]
    try:
        read(path)
    except error as exc:
        message = str(exc)
        assert len(message) < 2000, f"a message of {len(message)} characters"
        return exc.message.partition(":")[0][:40]
    return "read"


def fuzz(kind: str, number: int, folder: Path) -> Tally:
    """Read `number` documents of one kind, the same ones in every run.

    Raises:
        AssertionError: one took too long.
        Exception: one raised another error than the documented one; hypothesis prints it.
    """
    tally = Tally()
    path = folder / "fuzzed" / ("SKILL.md" if kind == "front matter" else "file.yaml")
    path.parent.mkdir()

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(documents(kind))
    def check(document: bytes) -> None:
        path.write_bytes(document)
        started = time.process_time()
        try:
            found = outcome(kind, path)
        finally:
            seconds = time.process_time() - started
        assert seconds < SECONDS, f"{seconds:.1f} s of CPU for {document[:200]!r}"
        tally.add(found, seconds, document)

    check()
    return tally
