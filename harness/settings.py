"""Read paths and switches from the platform's conventions and environment variables.

HARNESS_CACHE     models and other files that can be downloaded or made again
HARNESS_DATA      the run log, sessions, input history, and data of skills such as the corpus
HARNESS_CONFIG    the user's registry and skills, trusted and disabled plugins, permissions
HARNESS_REGISTRY  the user's registry file, instead of HARNESS_CONFIG/registry.yaml
HARNESS_ON        the default of --on, which states where models run, such as ray://HOST:10001
HARNESS_NO_SESSIONS=1  conversations are not stored
HARNESS_STRICT_PLUGINS=1  a plugin that cannot be loaded ends the program (for tests and CI)
HARNESS_PLUGIN_DEADLINE  seconds that a plugin may take to load or to run a hook (default: 20)
HARNESS_FOLDER_DEADLINE  seconds that searching one folder of skills may take (default: 5)
HARNESS_MCP_DEADLINE  seconds that a server of mcp.json may take to start or answer (default: 60)
HARNESS_RUN_ENV   variables that commands of a model receive, such as GH_TOKEN,PYTHONPATH
HARNESS_RUN_NETWORK=1  commands of a model may use the network even in a sandbox
HARNESS_ARXIV_URL the arXiv API's query address
HARNESS_SOURCES   services at which papers are looked up; docs/lookups.md lists the services'
                  own variables
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

APP_NAME = "nanda-harness"
CODE_ROOT = Path(__file__).resolve().parent.parent
"""The folder that contains harness/, skills/ and models/."""


AGENTS = ".agents"
"""Name of the folder for all clients of Agent Skills, in a project or the home folder."""
PLUGIN_DEADLINE = 20.0
FOLDER_DEADLINE = 5.0
MCP_DEADLINE = 60.0
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths and switches, read once at the start.

    Attributes:
        project_dir: the working folder. Skills are read from its skills/ folder, and from the
            .agents/skills/ folders in the working folder and its parents, up to the root of the
            git repository.
        shared_skills: the folder ~/.agents/skills, which other clients also use; None to ignore it.
        plugin_deadline: time limit in seconds for loading a plugin that is not shipped, and for
            each call of its hooks.
        folder_deadline: time limit in seconds for searching one folder of skills.
        mcp_deadline: time limit in seconds for the start of a server of mcp.json, and for the time
            until the server answers a call or reports progress.
        no_sessions: True if conversations are not stored.
        on: the place where models run, in the form of `--on`; "" if the registry decides.
        run_environment: names of the environment variables that commands of a model receive in
            addition to a few harmless variables.
        run_network: True if commands of a model may use the network in a sandbox.
        registry_required: True if the user named a registry file; a missing file is then an error.
    """

    cache_dir: Path
    data_dir: Path
    config_dir: Path
    user_registry: Path
    project_dir: Path
    registry_required: bool = False
    strict_plugins: bool = False
    no_sessions: bool = False
    plugin_deadline: float = PLUGIN_DEADLINE
    folder_deadline: float = FOLDER_DEADLINE
    mcp_deadline: float = MCP_DEADLINE
    on: str = ""
    run_environment: tuple[str, ...] = ()
    run_network: bool = False
    shipped_registry: Path = CODE_ROOT / "models" / "registry.yaml"
    shipped_skills: Path = CODE_ROOT / "skills"
    shared_skills: Path | None = None

    @property
    def run_log(self) -> Path:
        return self.data_dir / "runs.db"

    @property
    def sessions(self) -> Path:
        return self.data_dir / "sessions.db"

    @property
    def history(self) -> Path:
        return self.data_dir / "history"

    @property
    def permissions_file(self) -> Path:
        return self.config_dir / "permissions.json"

    @property
    def trust_file(self) -> Path:
        return self.config_dir / "trusted.json"

    @property
    def disabled_file(self) -> Path:
        return self.config_dir / "disabled.json"

    @property
    def mcp_file(self) -> Path:
        """The file with the user's MCP servers."""
        return self.config_dir / "mcp.json"

    @property
    def project_mcp_files(self) -> tuple[Path, ...]:
        """The files with the project's MCP servers; the first server of each name is used."""
        return self.project_dir / "mcp.json", self.project_dir / ".mcp.json"

    @property
    def hooks_file(self) -> Path:
        """The file with the user's hooks: commands that check the tool calls of a model."""
        return self.config_dir / "hooks.json"

    @property
    def project_hooks(self) -> Path:
        """The file with the project's hooks: commands that check the tool calls of a model."""
        return self.project_dir / AGENTS / "hooks.json"

    @property
    def skills_lock(self) -> Path:
        """The file that records installed skills, so that another machine can install them."""
        return self.config_dir / "skills.lock"

    @property
    def own_skills(self) -> Path:
        """The folder of the user's skills, which are trusted unless `/skills` installed them."""
        return self.config_dir / "skills"

    @property
    def user_folders(self) -> tuple[Path, ...]:
        """The folders of the user's skills, which are available in all projects."""
        return (self.own_skills, *([self.shared_skills] if self.shared_skills else []))

    @property
    def skill_folders(self) -> tuple[Path, ...]:
        """The folders of skills that are not shipped; the first skill of each name is used."""
        shared = (folder / AGENTS / "skills" for folder in _up_to_git_root(self.project_dir))
        return tuple(dict.fromkeys((self.project_dir / "skills", *shared, *self.user_folders)))

    @property
    def private(self) -> tuple[Path, ...]:
        """Folders of the harness itself, which a model may read only with permission."""
        return self.config_dir, self.data_dir

    @property
    def protected(self) -> tuple[Path, ...]:
        """Files and folders that control the harness, and that a model may therefore not write."""
        own = self.user_registry
        registries = own, registry_folder(own), self.shipped_registry
        folders = self.config_dir, *self.skill_folders, self.shipped_skills
        project = *self.project_mcp_files, self.project_hooks
        return (*folders, *registries, self.sessions, *project)


def registry_folder(registry: Path) -> Path:
    """Return the folder of registered models beside a registry: registry.d for registry.yaml."""
    return registry.with_suffix(".d")


def _up_to_git_root(folder: Path) -> tuple[Path, ...]:
    """Return the folder and its parents up to the root of its git repository.

    Outside of a git repository, only the folder is returned.
    """
    above = (folder, *folder.parents)
    # `os.path.exists` returns False for an unreadable path; `Path.exists` raises an exception.
    found = (n for n, place in enumerate(above) if os.path.exists(place / ".git"))  # noqa: PTH110
    return above[: next(found, 0) + 1]


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from the environment and the platform's conventions.

    Raises:
        UsageError: the working folder was deleted, the home folder is unknown, or a number of
            seconds is invalid.
    """
    import platformdirs

    env = os.environ if environ is None else environ
    dirs = platformdirs.PlatformDirs(APP_NAME, appauthor=False)
    registry = env.get("HARNESS_REGISTRY")
    try:
        config = Path(env.get("HARNESS_CONFIG") or dirs.user_config_dir).expanduser()
        return Settings(
            cache_dir=Path(env.get("HARNESS_CACHE") or dirs.user_cache_dir).expanduser(),
            data_dir=Path(env.get("HARNESS_DATA") or dirs.user_data_dir).expanduser(),
            config_dir=config,
            user_registry=Path(registry).expanduser() if registry else config / "registry.yaml",
            registry_required=bool(registry),
            project_dir=Path.cwd(),
            shared_skills=Path(os.path.expanduser("~")) / AGENTS / "skills",  # noqa: PTH111
            strict_plugins=env.get("HARNESS_STRICT_PLUGINS") == "1",
            no_sessions=env.get("HARNESS_NO_SESSIONS") == "1",
            plugin_deadline=_seconds(env, "HARNESS_PLUGIN_DEADLINE", PLUGIN_DEADLINE),
            folder_deadline=_seconds(env, "HARNESS_FOLDER_DEADLINE", FOLDER_DEADLINE),
            mcp_deadline=_seconds(env, "HARNESS_MCP_DEADLINE", MCP_DEADLINE),
            on=env.get("HARNESS_ON", ""),
            run_environment=tuple(env.get("HARNESS_RUN_ENV", "").replace(",", " ").split()),
            run_network=env.get("HARNESS_RUN_NETWORK") == "1",
        )
    except (OSError, RuntimeError) as exc:
        raise UsageError(f"the environment cannot be used: {exc}") from exc


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    given = env.get(name)
    try:
        seconds = float(given) if given else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < MAX_SECONDS:
        raise UsageError(f"{name}: {given!r} is not between 0 and {MAX_SECONDS:,.0f} seconds")
    return seconds
