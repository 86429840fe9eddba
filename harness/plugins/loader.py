"""Load plugins one at a time, so that a broken plugin does not affect other plugins.

`PluginHost.load` imports a plugin, registers it, calls its `register_` hooks, and checks the
registered objects. An exception, even `SystemExit`, or a missed deadline is recorded as a
`PluginFailure` in the catalogue.

The plugin.py of a folder is always imported from source, under a unique module name. Otherwise
Python would import compiled code from `__pycache__`, which may differ from the source that the user
has read.

Discovery imports this module only if it has to import a plugin, since this module imports pydantic.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import operator
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pluggy
from pydantic import BaseModel

from harness.agent_skills.skill_file import NAME, SkillFile
from harness.api import hookspecs
from harness.api.hookspecs import Hook, Listener, RunHook, RunStarted, ToolHook, ToolStarted
from harness.api.options import GeneralOptions, flags
from harness.api.result import Format
from harness.api.skill import Impact, Needs, Skill, SkillOptions
from harness.errors import Interrupted, UsageError
from harness.models.weights import FileStore
from harness.plugins import plugin_table
from harness.plugins.catalogue import (
    Catalogue,
    Contributions,
    Found,
    FoundFormat,
    FoundFramework,
)
from harness.plugins.locations import ENTRY_POINTS, distribution, entry_points
from harness.plugins.plugin_table import contributions, import_file, import_shipped, own_backends
from harness.settings import CODE_ROOT, PLUGIN_DEADLINE
from harness.support.calls import Overdue, Raised, within
from harness.terminal.streams import prints

if TYPE_CHECKING:
    from harness.models.backend import Backend

T = TypeVar("T")
HOOKS = get_args(RunHook) + get_args(ToolHook)
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?")
SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")
_PREFIX = "harness_folder_"
_OWN_PACKAGES = frozenset({"harness", "skills"})


class PluginHost:
    """A plugin manager, and the catalogue to which the contributions of plugins are added.

    Args:
        files: the store of model files, which is passed to plugins that register backends.
        deadline: time limit in seconds for each step of a third-party plugin. The steps are the
            import, all `register_` hooks together, and each call of another hook.
    """

    def __init__(self, catalogue: Catalogue, files: FileStore, deadline: float) -> None:
        self._catalogue = catalogue
        self._files = files
        self._deadline = deadline
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def load(
        self,
        name: str,
        origin: str,
        load: Callable[[], object],
        file: SkillFile | None = None,
        *,
        ours: bool = False,
    ) -> Contributions | None:
        """Load a plugin, and return its contributions, or None after recording a failure.

        Args:
            load: imports and returns the plugin.
            file: the SKILL.md of the plugin, or None.
            ours: True for a plugin of this program, which has no deadline, and may use stdin and
                stdout.
        """
        plugin: object | None = None
        limited = partial(within, self._deadline, name=f"loading {name}")
        call: Callable[[Callable[[], Any]], Any] = operator.call if ours else limited
        try:
            with contextlib.nullcontext() if ours else _redirected():
                plugin = call(load)
                call(partial(_check_api, plugin))
                deprecated = self._register(plugin, f"{name} ({origin})")
                found: Contributions = call(partial(self._collect, plugin, origin, file, ours=ours))
                if any(hook.name in HOOKS for hook in self._manager.get_hookcallers(plugin) or ()):
                    found.listener = self._listener(plugin, name, origin, ours=ours)
                if found == Contributions():
                    raise UsageError("it has no hook that registers anything")
                self._catalogue.add(found)
            self._catalogue.remarks += deprecated
            return found
        except (Exception, SystemExit) as exc:  # noqa: BLE001 plugin code may raise any exception
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            cause: BaseException = exc
            if isinstance(exc, Raised):
                cause = exc.__cause__ or exc
            elif isinstance(exc, Overdue):
                cause = UsageError(
                    f"it was not loaded within {self._deadline:g} s",
                    hint=f"Raise HARNESS_PLUGIN_DEADLINE, or use `/skills disable {name}`.",
                )
            self._catalogue.fail(name, origin, cause)
            return None

    def _register(self, plugin: object, name: str) -> list[str]:
        """Register a plugin, and return a line for each deprecated feature that it uses.

        Each warning of the registration is issued again, for the tests of the plugin.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        for found in caught:
            warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
        return [f"{name}: {found.message}" for found in caught]

    def _collect(
        self, plugin: object, origin: str, file: SkillFile | None, *, ours: bool
    ) -> Contributions:
        """Check and return the objects that the `register_` hooks of a plugin register.

        Raises:
            UsageError: a skill, framework or format is invalid.
            Exception: raised by the plugin.
        """
        skills: list[Skill] = []
        backends: list[Backend] = []
        frameworks: dict[str, Path] = {}
        formats: list[Format] = []
        self._call("register_skills", plugin, register=skills.append)
        self._call("register_backends", plugin, register=backends.append, files=self._files)
        self._call("register_frameworks", plugin, register=frameworks.__setitem__)
        self._call("register_formats", plugin, register=formats.append)
        for skill in skills:
            check_skill(skill, schema=not ours)
        for name, path in frameworks.items():
            check_framework(name, path)
        for output_format in formats:
            check_format(output_format)
        problems = file.problems if file else ()
        return Contributions(
            [Found(skill, origin, problems, file) for skill in skills],
            backends,
            {name: FoundFramework(path, origin) for name, path in frameworks.items()},
            [FoundFormat(output_format, origin) for output_format in formats],
        )

    def _call(self, hook: str, plugin: object, **arguments: Any) -> list[Any]:
        """Call a hook of a single plugin, and return its results other than None."""
        everyone = (p for _, p in self._manager.list_name_plugin())
        others = [p for p in everyone if p is not None and p is not plugin]
        return list(self._manager.subset_hook_caller(hook, others)(**arguments) or ())

    def _listener(self, plugin: object, name: str, origin: str, *, ours: bool) -> Listener:
        def call(hook: Hook, event: RunStarted | ToolStarted) -> list[Any]:
            argument = "run" if isinstance(event, RunStarted) else "call"
            work = partial(self._call, hook, plugin, **{argument: event})
            if ours:
                return work()
            try:
                return within(self._deadline, work, f"{hook} of {name}")
            except Interrupted as exc:  # raised by the plugin, not by Ctrl-C
                raise Raised from exc

        return Listener(name, origin, call)


@contextlib.contextmanager
def _redirected() -> Iterator[None]:
    """In the block, send printed text to stderr, and make stdin empty."""
    original = sys.stdin
    with (
        Path(os.devnull).open(encoding="utf-8") as empty,
        contextlib.redirect_stdout(prints(sys.stderr)),
    ):
        sys.stdin = empty
        try:
            yield
        finally:
            sys.stdin = original


def _check_api(plugin: Any) -> None:
    """Check that this program supports the hook version in a plugin's `harness_api`, if any.

    Raises:
        UsageError: the plugin needs another major version or a later minor version of the hooks, or
            states an invalid version.
    """
    stated = getattr(plugin, "harness_api", None)
    if stated is None:
        return
    needs = _VERSION.fullmatch(stated) if isinstance(stated, str) else None
    if needs is None:
        raise UsageError(f'harness_api is {stated!r}; it must be like "{hookspecs.API_VERSION}"')
    major, minor = map(int, hookspecs.API_VERSION.split("."))
    if int(needs[1]) < major:
        raise UsageError(
            f"it is written for version {stated} of the hooks, and this harness has "
            f"{hookspecs.API_VERSION}",
            hint="Install a newer release of the plugin, or an older harness.",
        )
    if (int(needs[1]), int(needs[2] or 0)) > (major, minor):
        raise UsageError(
            f"it needs version {stated} of the hooks, and this harness has {hookspecs.API_VERSION}",
            hint="Install a newer nanda-harness.",
        )


def check_framework(name: Any, path: Any) -> None:
    """Check that a framework has a valid name and an existing file.

    Raises:
        UsageError: the framework is invalid.
    """
    _checked_name("framework", name)
    if not isinstance(path, Path) or not path.is_file():
        raise UsageError(f"the framework {name} has no such file: {path}")


def _checked_name(kind: str, name: object) -> str:
    """Return a valid name of a skill or framework; raise UsageError for an invalid name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"the {kind} name {name!r} must be lower-case letters, digits and hyphens")
    return name


def check_format(found: Any) -> None:
    """Check the attributes of a format.

    Raises:
        UsageError: an attribute is invalid.
    """
    if not isinstance(found, Format):
        raise UsageError(f"{type(found).__name__} is not a harness.Format")
    suffix = getattr(found, "suffix", None)
    if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        raise UsageError(f'the suffix {suffix!r} of a format is not like ".org"')
    if not str(getattr(found, "summary", "")).strip():
        raise UsageError(f"the format {suffix} has no summary")
    if isinstance(getattr(found, "skills", None), str):
        raise UsageError(f"the format {suffix}: skills is a string, not a set of names")


def check_skill(skill: Any, *, schema: bool = True) -> None:
    """Check the attributes of a skill.

    Args:
        schema: True to check also that the options and results have a JSON Schema.

    Raises:
        UsageError: an attribute is invalid.
        Exception: raised by the code of the skill.
    """
    name = _checked_name("skill", getattr(skill, "name", None))
    summary = getattr(skill, "summary", "")
    if not isinstance(summary, str) or not summary.strip():
        raise UsageError(f"/{name} has no summary")
    options = getattr(skill, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SkillOptions)):
        raise UsageError(f"/{name}: Options is not a subclass of SkillOptions")
    if not isinstance(skill, Skill):
        raise UsageError(f"/{name} is not a harness.Skill")
    own = flags(options)
    if taken := own.keys() & {*flags(GeneralOptions), "--help"}:
        raise UsageError(f"/{name}: {', '.join(sorted(taken))} belongs to the harness")
    if len(own) < len(options.model_fields):
        raise UsageError(f"/{name}: two of the options have the same name")
    _check_attributes(skill)
    for trigger in skill.triggers:
        re.compile(trigger)
    _check_for_programs(skill)
    if schema:
        _check_schema(name, options, "Options have")
        for what, model in _outputs(skill):
            _check_schema(name, model, f"{what} has")


def _check_schema(name: str, model: type[BaseModel], what: str) -> None:
    """Check that a Pydantic model has a JSON Schema, for /help, the chat model and MCP clients.

    Args:
        what: the beginning of the message after the name of the skill, such as "Options have".

    Raises:
        UsageError: pydantic cannot create the schema.
    """
    from pydantic import PydanticInvalidForJsonSchema
    from pydantic.json_schema import PydanticJsonSchemaWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        try:
            model.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticJsonSchemaWarning) as exc:
            reason = str(exc).partition("\n")[0]
            raise UsageError(f"/{name}: {what} no JSON Schema: {reason}") from exc


def _check_for_programs(skill: Skill) -> None:
    """Raise UsageError if `impact`, `output` or `output_summary` of a skill is invalid."""
    for what, model in _outputs(skill):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise UsageError(f"/{skill.name}: {what} is not a pydantic model")
    for subcommand, impact in dict(skill.impact).items():
        if impact not in get_args(Impact):
            known = ", ".join(get_args(Impact))
            raise UsageError(f"/{skill.name}: impact is {impact!r}, not one of {known}")
        if subcommand and subcommand not in skill.subcommands:
            raise UsageError(
                f"/{skill.name}: impact contains {subcommand!r}, which is not a subcommand"
            )


def _check_attributes(skill: Skill) -> None:
    if skill.text not in get_args(Needs):
        raise UsageError(
            f"/{skill.name}: text is {skill.text!r}, not {' or '.join(get_args(Needs))}"
        )
    for what, kind, keys in (
        ("a string", str, ("usage", "details")),
        ("a mapping of strings to strings", Mapping, ("subcommands", "target_text")),
        ("a tuple of strings", (tuple, list), ("phrases", "saves", "folders", "triggers")),
    ):
        for key in keys:
            value = getattr(skill, key)
            parts = (*value, *value.values()) if isinstance(value, Mapping) else value
            if not isinstance(value, kind) or not all(isinstance(part, str) for part in parts):
                raise UsageError(f"/{skill.name}: {key} is not {what}")
    if wrong := [suffix for suffix in skill.saves if not SUFFIX.fullmatch(suffix)]:
        raise UsageError(f"/{skill.name}: {wrong[0]!r} is not a suffix like .txt")


def _outputs(skill: Skill) -> Iterator[tuple[str, Any]]:
    """Yield (name of the attribute, model) for each model in `output` and `output_summary`."""
    for what, models in (("output", skill.output), ("output_summary", skill.output_summary)):
        each = models.values() if isinstance(models, Mapping) else [models]
        yield from ((what, model) for model in each if models is not None)


class _SourceOnlyLoader(importlib.machinery.SourceFileLoader):
    """A loader that neither reads nor writes compiled files."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _FolderFinder:
    """A finder for the relative imports of a plugin.py; it does not load compiled Python."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        extensions = importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES
        source = _SourceOnlyLoader, importlib.machinery.SOURCE_SUFFIXES
        for folder in path:
            finder = importlib.machinery.FileFinder(folder, extensions, source)
            if (spec := finder.find_spec(fullname)) is not None:
                return spec
        return None


def import_folder(folder: Path) -> ModuleType:
    """Import the plugin.py of a folder as a package, and return the package.

    Each call imports the plugin.py again.
    """
    if not any(isinstance(finder, _FolderFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FolderFinder())
    tag = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    package = f"{_PREFIX}{re.sub(r'[^a-z0-9]', '_', folder.name)}_{tag}"
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
    path = folder / "plugin.py"
    return import_file(package, path, folder, _SourceOnlyLoader(package, str(path)))


def forget(folders: Iterable[Path], packages: Collection[str]) -> None:
    """Remove the modules in `folders`, and the modules of `packages`, from `sys.modules`.

    The modules of this program are kept.
    """
    importlib.invalidate_caches()  # otherwise, a newly installed package would not be found
    below = tuple(f"{path}{os.sep}" for f in folders for path in {f.absolute(), f.resolve()})
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None) or ""
        if top not in _OWN_PACKAGES and (top in packages or file.startswith(below)):
            del sys.modules[name]


def node_backends(files: FileStore) -> Mapping[str, Backend]:
    """Return the backends that a cluster's node can use, by name.

    These are the backends of the program, of its skills, and of installed packages.
    """
    catalogue = Catalogue()
    host = PluginHost(catalogue, files, PLUGIN_DEADLINE)
    catalogue.add(Contributions(backends=own_backends(files)))
    for name, row in plugin_table.read()["plugins"].items():
        if row["backends"]:
            load = partial(import_shipped, CODE_ROOT / "skills", name)
            catalogue.add(contributions(row, load, files))
    for point in entry_points(ENTRY_POINTS):
        host.load(point.name, distribution(point), point.load)
    return catalogue.backends
