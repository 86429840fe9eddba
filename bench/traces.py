"""Measure the cost of traces in a job, relative to the cost of annotating a row.

    python bench/traces.py [ROWS]

Annotates ROWS papers (default 100) with the shipped annotator, and prints the CPU seconds of a row.
Then a job of 10,000 rows runs with a model that answers each row at once: without traces, with the
default sampler, and with a sampler that records every row. Spans are exported to memory. The
differences are the cost of the traces, which is printed per row and as a share of the annotated
row. The program fails if the share with the default sampler is 1% or more.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)

from harness.cli.app import App  # noqa: E402
from harness.models.backend import Message, Reply, Request  # noqa: E402
from harness.models.served import ServedModel, Usage  # noqa: E402
from harness.runs.frontend import Frontend  # noqa: E402
from harness.runs.jobs import Job  # noqa: E402
from harness.support import traces  # noqa: E402
from harness.support.stop_token import StopToken  # noqa: E402
from harness.testing import FakeModel, fake_settings  # noqa: E402

ROWS, MOST = 10_000, 0.01
REQUEST = Request((Message("system", "Annotate."), Message("user", "An abstract.")))


def seconds(work: Callable[[], object]) -> float:
    """Call `work`, and return the CPU seconds that this process used."""
    before = time.process_time()
    work()
    return time.process_time() - before


def annotated(rows: int) -> float:
    """Annotate `rows` papers, and return the mean CPU seconds of a row."""
    abstract = (ROOT / "examples" / "abstract.txt").read_text(encoding="utf-8").strip()
    with tempfile.TemporaryDirectory() as folder:
        app = App(fake_settings(Path(folder)), Frontend("bench"))
        table = Path(folder) / "papers.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "abstract"])
            writer.writerows([number, f"{abstract} {number} runs."] for number in range(rows + 1))
        app.dispatch(f"/annotate {table} --limit 1 save to {folder}/first.jsonl")  # loads the model
        spent = seconds(lambda: app.dispatch(f"/annotate {table} save to {folder}/all.jsonl"))
        app.close()
    return spent / rows


def job() -> None:
    """Run a job in which only the traces and the job runner need CPU time."""
    model = FakeModel()
    model.generate = lambda *_: Reply("An answer.", "stop", 3, 2, 0.0)  # type: ignore[method-assign]
    serve = SimpleNamespace(backend="fake", where="fake")
    resolution = SimpleNamespace(resolved="fake", chosen=SimpleNamespace(serve=serve))
    served = ServedModel(resolution, SimpleNamespace(), model, Usage())  # type: ignore[arg-type]
    with traces.run("annotate", "", "bench", 1):
        Job[int, Reply](
            lambda _: served.generate(REQUEST), lambda *_: None, lambda *_: None, 2, StopToken()
        ).run(range(ROWS))


def traced(sampler: sampling.Sampler) -> tuple[float, int]:
    """Return the CPU seconds of the job, and the number of its spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=5 * ROWS))
    traces.use(provider)
    spent = seconds(lambda: (job(), provider.force_flush()))
    return spent, len(exporter.get_finished_spans())


def main() -> int:
    row = annotated(int(sys.argv[1]) if sys.argv[1:] else 100)
    print(f"an annotated row: {row * 1000:.2f} ms of CPU")
    job()
    base = min(seconds(job) for _ in range(3))
    shares = []
    for name, sampler in (("default", sampling.DEFAULT_ON), ("always_on", sampling.ALWAYS_ON)):
        spent, spans = min(traced(sampler) for _ in range(3))
        cost = (spent - base) / ROWS
        shares.append(cost / row)
        print(f"{name}: {cost * 1e6:.0f} µs a row, {spans} spans, {cost / row:.2%} of the row")
    return shares[0] >= MOST


if __name__ == "__main__":
    sys.exit(main())
