"""Run a line of the harness from another program, and stop it after a minute."""

# -- start run --
import sys
import threading

from harness import App, Frontend, Progress
from harness.settings import from_environment


def show(event: Progress) -> None:
    print(f"{event.done:g} of {event.total or '?'} {event.message}", file=sys.stderr)


def run(line: str) -> str:
    app = App(from_environment(), Frontend("my-program"))
    stop = threading.Event()
    timer = threading.Timer(60, stop.set)
    timer.start()
    try:
        return app.dispatch(line, cancel=stop, progress=show).result.as_json()
    finally:
        timer.cancel()
        app.close()


if __name__ == "__main__":
    print(run(sys.argv[1]))
# -- end run --
