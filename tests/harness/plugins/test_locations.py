"""The folders that are searched for skills, and what happens to names that occur twice."""

import dataclasses
import io

import pytest
from plugin_folders import GOOD, plugin

from harness import settings
from harness.cli.app import App
from harness.plugins.catalogue import Shadowed
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from harness.testing import fake_app, fake_settings


def prompt(root, name, description="Greets people."):
    folder = root / name
    folder.mkdir(parents=True)
    text = f"---\nname: {name}\ndescription: {description}\n---\nGreet.\n"
    (folder / "SKILL.md").write_text(text)
    return folder


def strict_app(where):
    """An application in strict mode, where a failure of loading is an exception."""
    return App(where, Frontend("test"), Screen(io.StringIO(), io.StringIO()))


@pytest.fixture
def nested(tmp_path):
    """Settings of a project three folders below the root of a git repository."""
    project = tmp_path / "repository" / "packages" / "web"
    project.mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    shared = tmp_path / "home" / ".agents" / "skills"
    return dataclasses.replace(fake_settings(tmp_path), project_dir=project, shared_skills=shared)


def test_folders_above_are_searched_up_to_the_root_of_the_repository(tmp_path, nested):
    prompt(nested.project_dir / ".agents" / "skills", "here")
    prompt(tmp_path / "repository" / "packages" / ".agents" / "skills", "between")
    prompt(tmp_path / "repository" / ".agents" / "skills", "root")
    prompt(tmp_path / ".agents" / "skills", "outside")
    prompt(tmp_path / "repository" / "skills", "not-shared")
    found = strict_app(nested).catalogue.skills
    assert {"here", "between", "root"} <= found.keys()
    assert not {"outside", "not-shared"} & found.keys()


def test_without_a_repository_no_folder_above_is_searched(tmp_path):
    prompt(tmp_path / ".agents" / "skills", "above")
    project = tmp_path / "project"
    project.mkdir()
    where = dataclasses.replace(fake_settings(tmp_path), project_dir=project)
    assert "above" not in strict_app(where).catalogue.skills


def test_git_file_of_a_worktree_is_a_root(tmp_path):
    (tmp_path / ".git").write_text("gitdir: elsewhere")
    where = dataclasses.replace(fake_settings(tmp_path), project_dir=tmp_path / "project")
    assert tmp_path / ".agents" / "skills" in where.skill_folders


def test_shared_folder_of_the_home_is_searched_last(tmp_path, nested, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert settings.from_environment({}).skill_folders[-1] == nested.shared_skills
    prompt(nested.shared_skills, "shared")
    kept = prompt(nested.own_skills, "twice")
    left = prompt(nested.shared_skills, "twice")
    catalogue = strict_app(nested).catalogue
    assert catalogue.skills["shared"].origin == str(nested.shared_skills / "shared")
    assert catalogue.shadowed == [Shadowed("twice", str(left), str(kept))]


def test_nearest_folder_keeps_the_name(tmp_path, nested):
    above = prompt(tmp_path / "repository" / ".agents" / "skills", "review")
    near = prompt(nested.project_dir / ".agents" / "skills", "review")
    catalogue = strict_app(nested).catalogue
    assert catalogue.skills["review"].origin == str(near)
    assert catalogue.shadowed == [Shadowed("review", str(above), str(near))]


@pytest.mark.parametrize("place", ["home", "above"])
def test_code_of_shared_folders_needs_trust(tmp_path, nested, place):
    above = tmp_path / "repository" / ".agents" / "skills"
    root = nested.shared_skills if place == "home" else above
    plugin(root, "theirs", "raise SystemExit('must not run')")
    assert list(strict_app(nested).catalogue.untrusted) == ["theirs"]


def test_shadowing_is_one_line(tmp_path):
    for number in range(12):
        prompt(tmp_path / "skills", f"skill-{number:02}")
        prompt(tmp_path / ".agents" / "skills", f"skill-{number:02}")
    plugin(tmp_path / ".agents" / "skills", "help", GOOD.format(name="help"))
    app = fake_app(tmp_path)  # strict: a failure would raise
    [line] = app.screen.err.getvalue().splitlines()
    assert line.startswith("not loaded, since the names are taken: /help, /skill-00, /skill-01")
    assert line.endswith("/skill-08 and 3 more (/skills)")
    assert "help" not in app.catalogue.untrusted
    assert app.catalogue.failures == []


def test_one_folder_in_two_places_is_not_shadowed(tmp_path):
    folder = prompt(tmp_path / "skills", "greet")
    (tmp_path / ".agents" / "skills").mkdir(parents=True)
    (tmp_path / ".agents" / "skills" / "greet").symlink_to(folder)
    app = fake_app(tmp_path)
    assert app.catalogue.shadowed == []
    assert app.screen.err.getvalue() == ""
