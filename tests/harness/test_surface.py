"""The public surface, and rules for all modules."""

import ast
import importlib
import inspect
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

import harness
from harness import errors
from harness.settings import CODE_ROOT

# Shipped skills are packages; any other folder in skills/ was put there by a user.
SHIPPED = (CODE_ROOT / "harness", *(p.parent for p in CODE_ROOT.glob("skills/*/__init__.py")))
PYTHON = [path for place in SHIPPED for path in sorted(place.rglob("*.py"))]


def test_exports_are_sorted_and_exist():
    assert list(harness.__all__) == sorted(harness.__all__)
    imported = {
        alias.name
        for node in ast.walk(ast.parse(inspect.getsource(harness)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness")
        for alias in node.names
    }
    assert imported == set(harness.__all__)
    for name in harness.__all__:
        defining = importlib.import_module(getattr(getattr(harness, name), "__module__", "typing"))
        assert getattr(defining, name, None) in (None, getattr(harness, name))


def documented(exported):
    """Return the docstrings of a class and its methods, or of a function."""
    found = vars(exported).items() if inspect.isclass(exported) else ()
    methods = [method for name, method in found if callable(method) and name[0] != "_"]
    return "\n".join(filter(None, map(inspect.getdoc, (exported, *methods))))


def test_errors_in_docstrings_are_exported():
    """A backend that raises ModelBusy must be able to import it."""
    known = {cls.__name__ for cls in _subclasses(errors.HarnessError)}
    for name in harness.__all__:
        said = set(re.findall(r"\b[A-Z]\w+\b", documented(getattr(harness, name))))
        assert said & known <= set(harness.__all__), name


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_import_is_declared():
    project = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    core = _names(project["dependencies"])
    declared = {
        "annotate": core | _names(extras["ray"]),
        "corpus": core.union(*(_names(extras[one]) for one in ("duckdb", "map", "meaning"))),
        # mlflow-skinny provides mlflow, which packages_distributions shows only if it is installed.
        "finetune": core.union(
            ["mlflow"], *(_names(extras[one]) for one in ("finetune", "hub", "trackers"))
        ),
        "evaluate": core | _names(extras["plots"]),
        "acp": core | _names(extras["acp"]),
        "mcp": core | _names(extras["mcp"]),
        "models": core | _names(extras["hub"]) | _names(extras["ray"]),
        "support": core | _names(extras["otel"]),
        "reader": core | _names(extras["finetune"]),
    }
    ours = {"harness", "skills", "agent", *sys.stdlib_module_names}
    providers = packages_distributions()
    for path in PYTHON:
        for name in {name.split(".")[0] for name in imported(path)} - ours:
            # If an extra is not installed, the module is assumed to have the name of its package.
            provided = {p.lower().replace("_", "-") for p in providers.get(name, [name])}
            skill = path.relative_to(CODE_ROOT).parts[1:2]
            assert provided & declared.get("".join(skill), core), f"{path} imports {name}"


def _names(requirements):
    return {re.split(r"[<>=[]", name)[0] for name in requirements}


def test_every_error_has_its_exit_code():
    tree = {
        errors.HarnessError: 1,
        errors.UsageError: 2,
        errors.SkillFailed: 1,
        errors.ModelError: 3,
        errors.OutputError: 4,
        errors.ReaderGone: 0,
        errors.Interrupted: 130,
    }
    for cls in _subclasses(errors.HarnessError):
        assert cls.__name__ in errors.__doc__
        assert cls.exit_code == tree[next(c for c in cls.__mro__ if c in tree)]


def _subclasses(cls):
    yield cls
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield from _subclasses(sub)


def test_testing_exports_are_sorted_and_exist():
    from harness import testing

    assert list(testing.__all__) == sorted(testing.__all__)
    defined = {
        name
        for node in ast.parse(inspect.getsource(testing)).body
        for name in (
            [target.id for target in node.targets]
            if isinstance(node, ast.Assign)
            else [getattr(node, "name", "_")]
        )
        if not name.startswith("_")
    }
    assert defined == set(testing.__all__)


def test_the_types_are_packaged():
    """Type checkers of plugins need py.typed in the wheel."""
    tool = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert (CODE_ROOT / "harness" / "py.typed").is_file()
    assert "py.typed" in tool["setuptools"]["package-data"]["*"]
    assert "harness*" in tool["setuptools"]["packages"]["find"]["include"]


@pytest.mark.parametrize(
    ("written", "instead", "code"),
    [
        ("", "", 0),
        ("def run(self, call: Call) -> Result:", "def run(self, call: int) -> Result:", 1),
        ("def run_finished(run: RunFinished)", "def run_finished(run)", 1),
    ],
    ids=["as-it-is", "another-signature", "untyped"],
)
def test_a_plugin_passes_strict_type_checks(tmp_path, written, instead, code):
    mypy = pytest.importorskip("mypy.api")
    example = CODE_ROOT / "tests" / "support" / "plugin_of_everything.py"
    source = example.read_text(encoding="utf-8")
    assert written in source
    path = tmp_path / "plugin_of_everything.py"
    path.write_text(source.replace(written, instead), encoding="utf-8")
    config = str(CODE_ROOT / "pyproject.toml")
    out, err, exit_code = mypy.run(["--config-file", config, str(path)])
    assert exit_code == code, out + err
