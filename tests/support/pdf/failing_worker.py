"""The process that reads PDF files, which fails in the way that the name of a file states."""

import os
import time
from pathlib import Path

from skills.corpus.tables import processes
from skills.corpus.tables.pdf import worker

answer = worker._answer


def failing(request):
    match Path(request["path"]).stem:
        case "crash":
            os.abort()
        case "hang":
            time.sleep(600)
        case "loop":
            processes.limit("RLIMIT_CPU", int(time.process_time()) + 1)
            while True:
                pass
        case "memory":
            return {"title": bytearray(processes.MEMORY + 1).hex()}
    return answer(request)


worker._answer = failing
worker.main()
