"""The process that reads PDF files, which fails in the way that the name of a file states."""

import os
import time
from pathlib import Path

from skills.corpus.pdf import extraction
from skills.corpus.tables import reader_process


def failing(path, **request):
    match Path(path).stem:
        case "crash":
            os.abort()
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(600)
        case "loop":
            reader_process.limit("RLIMIT_CPU", int(time.process_time()) + 1)
            while True:
                pass
        case "memory":
            return [{"title": bytearray(reader_process.MEMORY + 1).hex()}]
    return extraction.read(path, **request)


reader_process.serve(failing)
