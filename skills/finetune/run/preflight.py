"""What the later stages of a run would refuse, found out before hours are spent on training."""

from __future__ import annotations

from harness.support.optional_deps import require
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.deploy.ollama_create import refuse_old
from skills.finetune.deploy.registered import check_name
from skills.finetune.export.llama_cpp import chosen_converters, library_version
from skills.finetune.model import start_from
from skills.finetune.model.bases import describe
from skills.finetune.planning.judgement import packages
from skills.finetune.run.stage import StageContext

MODULES = ("gguf", "sentencepiece", "cffi", "jinja2")
"""What the other stages import, beside what training itself does."""


def check(context: StageContext) -> None:
    """Refuse a run whose converter or server cannot be used.

    A server that nobody has named is not asked: without one the run leaves that stage out.

    Raises:
        UsageError: a package is missing, the name cannot be one or is that of the model to go on
            from, or the server is too old.
        InputError: --llama-cpp names no llama.cpp, or --start-from no adapter that fits.
        ModelUnavailable: no server answers at --host.
    """
    options = context.call.options
    require(*packages(context.recipe), *MODULES)
    chosen_converters(context)
    library_version()
    start_from.refuse_name(context.recipe, options.as_name or context.run_dir.name)
    facts = describe(context)
    start_from.find(context) if facts is None else start_from.opened(context, facts)
    check_name(options.as_name)
    if options.host:
        with Ollama(options.host) as ollama:
            refuse_old(ollama.version())
