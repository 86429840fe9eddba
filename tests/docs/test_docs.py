"""Documents are current: generated pages, snippets that run, valid links."""

import importlib.util
import inspect
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from pseudo_terminal import pseudo_terminal

from harness import settings
from harness.api import hookspecs
from harness.models import registry
from harness.models.registry import Registry
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, assert_refuses, assert_saves, fake_app
from skills.annotate.render import for_terminal
from skills.curate.gates import REASONS
from skills.nanda import checks
from skills.nanda.anchors import anchor_of
from skills.nanda.framework import nanda

PAGES = [CODE_ROOT / "README.md", *sorted((CODE_ROOT / "docs").rglob("*.md"))]
GENERATED = {"commands.md", "reference.md"}
README = (CODE_ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page, language):
    text = (CODE_ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def test_generated_documents_are_current():
    done = subprocess.run(
        [sys.executable, CODE_ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_an_option_has_one_default():
    commands = (CODE_ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"\(default: [^)]*\)\s+\(default: [^)]*\)", commands) == []


def test_registries_in_the_guide_are_valid(tmp_path):
    shipped = registry.load(CODE_ROOT / "models" / "registry.yaml")
    for text in blocks("docs/models.md", "yaml"):
        assert shipped.overlaid(Registry.model_validate(yaml.safe_load(text))).models


@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if page.parent.name != "decisions"], ids=lambda p: p.name
)
def test_a_page_opens_with_a_sentence_and_a_command(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert re.match(r"[A-Z].*\w", lines[2])
    assert any(line.startswith("    ") for line in lines[3:14])


@pytest.mark.parametrize(
    "page",
    [*PAGES, CODE_ROOT / "CONTRIBUTING.md", CODE_ROOT / "models/nanda-annotator/README.md"],
    ids=lambda p: str(p.relative_to(CODE_ROOT)),
)
def test_links_are_valid(page):
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        if not path.startswith("http"):
            target = page.parent / path if path else page
            assert target.exists(), path
            assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def anchors(page):
    """Return the anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}


def test_a_page_is_read_in_five_minutes():
    words = {
        page.name: len(page.read_text(encoding="utf-8").split())
        for page in (CODE_ROOT / "docs").glob("*.md")
        if page.name not in GENERATED
    }
    assert {name: count for name, count in words.items() if count > 1_850} == {}
    assert sum(words.values()) <= 42_000


def test_each_gate_reason_is_explained():
    text = (CODE_ROOT / "docs" / "curate.md").read_text(encoding="utf-8")
    for code, meaning in REASONS.items():
        assert f"| `{code}` | {meaning} |" in text


def test_readme_and_makefile_have_the_same_commands():
    makefile = (CODE_ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README, re.M):
        assert f"\n{target}:" in makefile
    annotate = re.search(r'agent\.py (".*examples/abstract.txt.*")', README)
    assert annotate is not None
    assert annotate[1] in makefile


MOVE = r"(.+?)(?: \[([\d,]+)\])?(?: ! has the same content as \w+)?(?: ! uncertain: .+ (0\.\d+))?"
"""A move in README's picture: its text, sentence, and confidence if it is uncertain."""


def test_readme_shows_an_annotation_as_a_terminal_does():
    [picture] = [block for block in blocks("README.md", "text") if "\nNovelty " in block]
    title, paper_id, rest = re.fullmatch(r"(.+?)\n(\w+)\n\n(.+)", picture, re.S).groups()
    _, shown, made = rest.removesuffix("\n").split("\n\n")
    moves = {
        label: re.fullmatch(MOVE, " ".join(text.split())).groups()
        for label, text in re.findall(r"^(\w+) +((?:.+\n?)(?:^ .+\n?)*)", shown, re.M)
    }
    abstract = (CODE_ROOT / "examples/abstract.txt").read_text().partition("\n\n")[2]
    by_label = {label: name for name, label in nanda().labels.items()}
    model, created, seconds = " ".join(made.split("\n")).split(" · ")
    texts = {by_label[label]: text for label, (text, _, _) in moves.items()}
    record = {
        "id": paper_id,
        "title": " ".join(title.split("\n")),
        **texts,
        "anchors": {
            by_label[label]: anchor_of(abstract, map(int, numbers.split(",")), "model")
            for label, (_, numbers, _) in moves.items()
            if numbers
        },
        "confidence": {
            by_label[label]: float(probability)
            for label, (_, _, probability) in moves.items()
            if probability
        },
        "checks": checks.check(abstract, texts),
        "provenance": {
            "requested": model,
            "resolved": model,
            "created": created,
            "seconds": float(seconds.removesuffix(" s")),
        },
    }
    with pseudo_terminal(80) as terminal:
        Screen(terminal.stream).show(for_terminal(record, nanda(), abstract))
    assert "\n".join(terminal.lines) + "\n" == picture


def test_each_environment_variable_is_explained():
    named = set(re.findall(r"HARNESS_[A-Z_]+", settings.__doc__ or ""))
    source = (CODE_ROOT / "harness" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r'"(HARNESS_[A-Z_]+)"', source)) <= named
    stated = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in named if name not in stated} == set()


def test_hook_guide_lists_each_hook_and_its_arguments():
    text = (CODE_ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| `(\w+)\(([\w, ]+)\)` \|", text, re.M)
    specs = {
        name: ", ".join(inspect.signature(hook).parameters)
        for name, hook in vars(hookspecs).items()
        if hasattr(hook, f"{hookspecs.PROJECT}_spec")
    }
    assert dict(stated) == specs


def test_snippets_of_the_hook_guide_work(tmp_path):
    shutil.copy(CODE_ROOT / "tests" / "support" / "two_moves.yaml", tmp_path)
    (tmp_path / "guide.py").write_text("\n".join(blocks("docs/hooks.md", "python")))
    spec = importlib.util.spec_from_file_location("guide", tmp_path / "guide.py")
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    model = FakeModel('{"aim": "A word.", "result": "Two words."}')
    app = fake_app(tmp_path, model, plugins={"guide": plugin})
    line = f"/annotate --framework two-moves --title One {'word ' * 40}"
    assert "* One\n" in assert_saves(app, line, tmp_path / "x.org").read_text()
    assert_refuses(app, "/chat hello save to x.org", "/chat")
    assert "plugin" not in app.screen.err.getvalue()
