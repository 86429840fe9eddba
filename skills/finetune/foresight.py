"""What the later stages of a run would refuse, found out before hours are spent on training."""

from __future__ import annotations

from harness.extras import require
from skills.finetune.adapter import start
from skills.finetune.base.bases import describe
from skills.finetune.exporting.llama_cpp import chosen_converters, library_version
from skills.finetune.planning.judgement import packages
from skills.finetune.registering.registered import check_name
from skills.finetune.serving.ollama_api import Ollama
from skills.finetune.serving.ollama_create import refuse_old
from skills.finetune.work import Work

MODULES = ("gguf", "sentencepiece", "cffi", "jinja2")
"""What the other stages import, beside what training itself does."""


def check(work: Work) -> None:
    """Refuse a run whose converter or server cannot be used.

    A server that nobody has named is not asked: without one the run leaves that stage out.

    Raises:
        UsageError: a package is missing, the name cannot be one or is that of the model to go on
            from, or the server is too old.
        InputError: --llama-cpp names no llama.cpp, or --start-from no adapter that fits.
        ModelUnavailable: no server answers at --host.
    """
    options = work.call.options
    require(*packages(work.recipe), *MODULES)
    chosen_converters(work)
    library_version()
    start.refuse_name(work.recipe, options.as_name or work.out.name)
    facts = describe(work)
    start.find(work) if facts is None else start.opened(work, facts)
    check_name(options.as_name)
    if options.host:
        with Ollama(options.host) as ollama:
            refuse_old(ollama.version())
