"""Quantize one file in a separate process: the library writes to stderr, and may abort.

    python -P quantize_worker.py SOURCE TARGET FTYPE THREADS

It imports nothing of this package, so it runs as a file, wherever the package is.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Call `llama_model_quantize` of llama.h; FTYPE is a number of enum llama_ftype."""
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
