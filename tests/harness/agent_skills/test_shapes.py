"""120 headers and folders of the kinds that public collections of Agent Skills contain.

All of them are invented. What a shape becomes is the name it is loaded under and the beginnings of
its problems; a refused one has a reason.
"""

from dataclasses import dataclass, field

import pytest
from plugin_folders import lenient

from harness.agent_skills.prompt_skill import PromptSkill

BODY = "Do the task.\n"
SLUG = "is not lower-case letters, digits and single hyphens"


@dataclass
class Header:
    """The front matter of skills/FOLDER/SKILL.md, in a folder that is called `task` by default."""

    text: str
    problems: tuple[str, ...] = ()
    name: str = "task"
    folder: str = "task"
    about: str = ""
    refused: str = ""
    fields: dict[str, object] = field(default_factory=dict)


def header(text, *problems, **more):
    return Header(text, problems, **more)


def task(lines, *problems, **more):
    """A valid header with more fields."""
    return header(f"name: task\ndescription: Does a task.\n{lines}\n", *problems, **more)


def described(text, about, *problems):
    return header(f"name: task\ndescription: {text}\n", *problems, about=about)


def named(name, *problems, becomes, folder="task"):
    text = f"name: {name}\ndescription: Does a task.\n"
    return header(text, *problems, name=becomes, folder=folder)


def unknown(*fields):
    return tuple(f"unknown field {name!r}" for name in fields)


HEADERS = {
    # The six fields of the specification.
    "two-fields": header("name: task\ndescription: Does a task.\n"),
    "description-first": header("description: Does a task.\nname: task\n"),
    "six-fields": task(
        "license: MIT\ncompatibility: Needs git.\nallowed-tools: Read\nmetadata:\n  author: me"
    ),
    "license-file": task("license: Complete terms in LICENSE.txt"),
    "license-spdx": task("license: Apache-2.0 OR MIT"),
    "tools-with-patterns": task("allowed-tools: Read, Bash(git log:*), Bash(npm run test:*)"),
    "tools-quoted": task('allowed-tools: "Bash(python3 *)"'),
    "version-is-text": task("metadata:\n  version: 1.10", fields={"metadata": {"version": "1.10"}}),
    "date-is-text": task("metadata: {updated: 2026-01-31}"),
    "metadata-in-braces": task("metadata: {author: me, team: docs}"),
    "metadata-empty": task("metadata: {}"),
    "compatibility-of-500": task(f"compatibility: {'x' * 500}"),
    "comment-lines": task("# for reviewers\nlicense: MIT  # as the repository"),
    "blank-lines": header("\nname: task\n\n\ndescription: Does a task.\n\n"),
    "quoted-name": header("name: \"task\"\ndescription: 'Does a task.'\n"),
    "quotes-within": described("'It''s for \"tasks\".'", 'It\'s for "tasks".'),
    "escapes": described('"Does\\ta\\u0020task."', "Does a task."),
    "folded": described(">\n  Does a task.\n  Use when asked.", "Does a task. Use when asked."),
    "folded-stripped": described(">-\n  Does\n  a task.\n\n  Use it.", "Does a task. Use it."),
    "literal": described("|\n  Does a task:\n  - one\n  - two", "Does a task: - one - two"),
    "literal-kept": described("|+\n  Does a task.\n\n", "Does a task."),
    "plain-on-two-lines": described("Does a task\n  when asked.", "Does a task when asked."),
    "url-in-description": described("See https://example.org/a#b.", "See https://example.org/a#b."),
    "dashes-in-description": described("Does --- or not.", "Does --- or not."),
    "other-script": described("仕事をします。", "仕事をします。"),
    "emoji": described("Does a task 🚀 fast", "Does a task 🚀 fast"),
    "arrows-and-brackets": described("a -> b (c) [d]", "a -> b (c) [d]"),
    "percent-inside": described("saves 50% of time", "saves 50% of time"),
    "description-of-1024": described("x" * 1024, "x" * 1024),
    "name-that-yaml-changes": named("'on'", becomes="on", folder="on"),
    "name-of-digits": named("2048", becomes="2048", folder="2048"),
    "name-like-a-number": named("1e3", becomes="1e3", folder="1e3"),
    # Fields of other clients.
    "requires-list": task("requires: [git, node]", *unknown("requires")),
    "requires-block": task("requires:\n  - git\n  - node", *unknown("requires")),
    "requires-mapping": task("requires:\n  bins: [git]\n  env: [TOKEN]", *unknown("requires")),
    "requires-text": task("requires: git >= 2.30", *unknown("requires")),
    "tools-list": task("allowed-tools: [Read, Write]", "allowed-tools is a list"),
    "tools-block": task("allowed-tools:\n  - Read\n  - Bash(ls *)", "allowed-tools is a list"),
    "tools-mapping": task("allowed-tools: {bash: true}", "allowed-tools is a mapping"),
    "hint-quoted": task('argument-hint: "[file]"'),
    "hint-list": task("argument-hint: [file] "),
    "hint-angle": task("argument-hint: <issue> --draft"),
    "hint-two-lists": task(
        "argument-hint: [a] [b]",
        "argument-hint begins with '[' and is not quoted",
        fields={"argument-hint": "[a] [b]"},
    ),
    "invocable": task("user-invocable: true"),
    "model-denied": task("disable-model-invocation: true"),
    "both-switches": task(
        "user-invocable: true\ndisable-model-invocation: false",
    ),
    "triggers": task("triggers:\n  - do it\n  - please do", *unknown("triggers")),
    "triggers-nested": task("triggers:\n  - pattern: do\n    weight: 2", *unknown("triggers")),
    "model": task("model: some-model", *unknown("model")),
    "fork": task("context: fork\nagent: Explore", *unknown("agent")),
    "hooks": task(
        "hooks:\n  PreToolUse:\n    - matcher: Bash\n      hooks:\n        - type: command",
        *unknown("hooks"),
    ),
    "version-author": task("version: 1.0.0\nauthor: me", *unknown("version", "author")),
    "tags": task("tags: [a, b]\ncategory: docs", *unknown("tags", "category")),
    "keywords": task("keywords:\n- a\n- b", *unknown("keywords")),
    "homepage": task("homepage: https://example.org", *unknown("homepage")),
    "globs-quoted": task('globs: ["**/*.py"]', *unknown("globs")),
    "globs-unquoted": task(
        "globs: **/*.py\ntags: [a, b]",
        *unknown("globs", "tags"),
        "globs begins with '*' and is not quoted",
        fields={"globs": "**/*.py", "tags": ["a", "b"]},
    ),
    "package-unquoted": task(
        "package: @me/task", *unknown("package"), "package begins with '@' and is not quoted"
    ),
    "always-apply": task("alwaysApply: false", *unknown("alwaysApply")),
    "tools-key": task("tools: Read, Grep", *unknown("tools")),
    "dependencies": task("dependencies: python>=3.8, pandas", *unknown("dependencies")),
    "metadata-nested": task("metadata:\n  x: {emoji: 1}", "metadata has values that are not text"),
    "metadata-list": task("metadata:\n  tags: [a]", "metadata has values that are not text"),
    "metadata-text": task("metadata: internal", "metadata is not a mapping"),
    "metadata-json": task('metadata: {"a": {"b": ["c"]}}', "metadata has values that are not"),
    "license-mapping": task("license: {name: MIT}", "license is a mapping"),
    "compatibility-list": task("compatibility: [git]", "compatibility is a list"),
    "compatibility-empty": task("compatibility:", "compatibility is empty"),
    "capital-keys": task("License: MIT", *unknown("License")),
    "underscored-keys": task("allowed_tools: Read", *unknown("allowed_tools")),
    "key-with-blanks": task("when to use: always", *unknown("when to use")),
    "null-value": task("license: ~"),
    "anchors": task("x: &a [1]\ny: *a", *unknown("x", "y")),
    # Faults that are tolerated.
    "colon-in-description": described(
        "Does a task: quickly", "Does a task: quickly", "description contains ': '"
    ),
    "two-colons": described("Use for: a, b. Not for: c", "Use for: a, b.", "description contains"),
    "key-twice": task("license: MIT\nlicense: ISC", "duplicate key 'license'"),
    "description-of-1025": described("x" * 1025, "x" * 1024, "the description has 1025 characters"),
    "no-name": header("description: Does a task.\n", "no name; the folder's is used"),
    "empty-name": header("name:\ndescription: Does a task.\n", "no name; the folder's is used"),
    "list-as-name": header("name: [a]\ndescription: D.\n", "no name", "name is a list"),
    "title-as-name": named("Task Runner", f"the name 'Task Runner' {SLUG}", becomes="task"),
    "name-of-another-folder": named("other", "the name 'other' is not the", becomes="other"),
    "namespaced-name": named("me:task", f"the name 'me:task' {SLUG}; the", becomes="task"),
    "underscore": named("my_task", "the name 'my_task'", becomes="my-task", folder="my_task"),
    "two-underscores": named("_a__b", "the name '_a__b'", becomes="a-b", folder="_a__b"),
    "leading-hyphen": named("-task", "the name '-task'", becomes="task", folder="-task"),
    "trailing-hyphen": named("task-", "the name 'task-'", becomes="task", folder="task-"),
    "double-hyphen": named("a--b", "the name 'a--b'", becomes="a-b", folder="a--b"),
    "capitals": named("MyTask", "the name 'MyTask'", becomes="mytask", folder="MyTask"),
    "dots": named("node.js", "the name 'node.js'", becomes="node-js", folder="node.js"),
    "accents": named("café", "the name 'café'", becomes="cafe", folder="café"),
    "sharp-s": named("größe", "the name 'größe'", becomes="grosse", folder="größe"),
    "blanks": named("my task", "the name 'my task'", becomes="my-task", folder="my task"),
    "only-the-folder-is-odd": named("good", "the name 'good' is not", becomes="good", folder="B_d"),
    "kanji": named("要約", "the name '要約'", becomes="skill-e41f811e", folder="要約"),
    "symbols": named("'+++'", "the name '+++'", becomes="skill-29f5099b", folder="+++"),
    "name-of-65": named("n" * 65, "the name has 65", becomes="n" * 65, folder="n" * 65),
    # Refused.
    "no-description": header("name: task\n", refused="has no description"),
    "empty-description": header("name: task\ndescription:\n", refused="has no description"),
    "description-list": header(
        "name: task\ndescription: [a]\n", refused="its description is a list"
    ),
    "description-mapping": header(
        "name: task\ndescription: {short: a}\n", refused="its description is a mapping"
    ),
    "tabs": header("name: task\ndescription: D.\nmetadata:\n\ta: b\n", refused="is not YAML"),
    "open-quote": header('name: task\ndescription: "Does.\n', refused="is not YAML"),
    "plain-text": header("just some words\n", refused="front matter is not a mapping"),
    "list": header("- name\n- task\n", refused="front matter is not a mapping"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_header(tmp_path, kind):
    shape = HEADERS[kind]
    folder = tmp_path / "skills" / shape.folder
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\n{shape.text}---\n\n{BODY}")
    catalogue = lenient(tmp_path).catalogue
    if shape.refused:
        [failure] = catalogue.failures
        assert shape.refused in failure.reason
        assert failure.name == shape.folder
        return
    assert catalogue.failures == []
    found = catalogue.skills[shape.name]
    assert len(found.problems) == len(shape.problems), found.problems
    for problem, beginning in zip(sorted(found.problems), sorted(shape.problems), strict=True):
        assert problem.startswith(beginning)
    assert found.summary.startswith(shape.about)
    assert found.file is not None
    assert shape.fields.items() <= found.file.fields.items()
    assert isinstance(found.skill, PromptSkill)
    assert found.skill.body("") == BODY.strip()


VALID = "---\nname: {}\ndescription: Does a task.\n---\nDo it.\n"
FOLDERS = {
    # files below the project's folder, the names of the skills, and what is left out
    "alone": (["skills/a/SKILL.md"], ["a"], []),
    "shared-folder": ([".agents/skills/a/SKILL.md"], ["a"], []),
    "with-resources": (
        [
            "skills/a/SKILL.md",
            "skills/a/scripts/x.py",
            "skills/a/references/r.md",
            "skills/a/LICENSE",
        ],
        ["a"],
        [],
    ),
    "by-category": (["skills/docs/a/SKILL.md", "skills/code/b/SKILL.md"], ["a", "b"], []),
    "clone-of-a-collection": (
        [
            ".agents/skills/repo/README.md",
            ".agents/skills/repo/skills/a/SKILL.md",
            ".agents/skills/repo/skills/b/SKILL.md",
        ],
        ["a", "b"],
        [],
    ),
    "clone-of-plugins": (
        [".agents/skills/repo/plugins/tools/skills/a/SKILL.md"],
        ["a"],
        [],
    ),
    "six-levels": (["skills/1/2/3/4/5/a/SKILL.md"], ["a"], []),
    "seven-levels": (["skills/1/2/3/4/5/6/a/SKILL.md"], [], []),
    "skill-within-a-skill": (["skills/a/SKILL.md", "skills/a/examples/b/SKILL.md"], ["a"], []),
    "hidden-folder": (["skills/.system/a/SKILL.md", "skills/b/SKILL.md"], ["b"], []),
    "node-modules": (["skills/node_modules/a/SKILL.md", "skills/b/SKILL.md"], ["b"], []),
    "file-of-another-name": (["skills/a/README.md", "skills/b/skill.yaml"], [], []),
    "lower-case-file": (["skills/a/skill.md"], ["a"], []),
    "two-cases": (["skills/a/SKILL.md", "skills/a/skill.md"], ["a"], []),
    "at-the-top": (["skills/SKILL.md", "skills/a/SKILL.md"], ["a"], []),
    "twice-in-one-place": (["skills/x/a/SKILL.md", "skills/y/a/SKILL.md"], ["a"], ["a"]),
    "same-slug": (["skills/my_a/SKILL.md", "skills/my-a/SKILL.md"], ["my-a"], ["my-a"]),
    "in-three-places": (
        ["skills/a/SKILL.md", ".agents/skills/a/SKILL.md", "config/skills/a/SKILL.md"],
        ["a"],
        ["a", "a"],
    ),
    "name-of-a-command": (
        ["skills/help/SKILL.md", "skills/annotate/SKILL.md"],
        [],
        ["annotate", "help"],
    ),
    "no-skills": (["skills/README.md"], [], []),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folder(tmp_path, kind):
    files, names, shadowed = FOLDERS[kind]
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VALID.format(path.parent.name) if path.suffix == ".md" else "x")
    catalogue = lenient(tmp_path).catalogue
    assert sorted(n for n, one in catalogue.skills.items() if one.origin != "built in") == names
    assert sorted(one.name for one in catalogue.shadowed) == shadowed
    assert catalogue.failures == []


def test_there_are_120_shapes():
    assert len(HEADERS) + len(FOLDERS) >= 120
