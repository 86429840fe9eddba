"""Take the screenshots of docs/serve.md: `python docs/screenshots.py`, with Chromium installed.

Every page of the application over the corpus of --demo, by the browser that the tests use.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / "support" / name) for name in ("", "pages"))]

from browser_page import Browser, running_browser  # noqa: E402
from served_app import Served, served  # noqa: E402

from skills.corpus.db import runs  # noqa: E402
from skills.corpus.db.connection import open_corpus  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402
from skills.serve import server  # noqa: E402

IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 170_000
WIDE, PHONE = {"width": 1200, "height": 760}, {"width": 400, "height": 800}
SMALL = {"width": 900, "height": 520}
TALL = {"width": 1200, "height": 860}
PAGES = {
    "papers": ("/papers", "light", WIDE),
    "papers-dark": ("/papers?q=model&category=cs.CL", "dark", WIDE),
    "papers-phone": ("/papers", "light", PHONE),
    "paper": ("/papers/1", "light", WIDE),
    "paper-phone": ("/papers/1", "dark", PHONE),
    "page": ("/papers/30", "light", SMALL),
    "page-phone": ("/papers/30 > Page 1 (Claim)", "light", PHONE),
    "versions": ("/papers/2 > Compare with this version", "light", WIDE),
    "review": ("/review/next", "light", WIDE),
    "review-phone": ("/review/next", "dark", PHONE),
    "similar": ("/papers/1/similar", "light", WIDE),
    "review-queue": ("/review", "light", WIDE),
    "jobs": ("/jobs", "light", WIDE),
    "job": ("/jobs > /curate", "light", WIDE),
    "compare": ("/compare", "light", WIDE),
    "evaluations": ("/compare > Compare", "light", TALL),
    "evaluations-phone": ("/compare > Compare > lost", "dark", PHONE),
    "run": ("/compare > demo-annotator", "light", TALL),
    "run-phone": ("/compare > demo-annotator", "dark", PHONE),
    "curation": ("/compare > corpus", "light", WIDE),
    "curation-dark": ("/compare > corpus > rejected", "dark", WIDE),
}
"""Path, colours and size of each picture; on the page of a paper, its first move is chosen.

The names after a path are those of links or buttons that are pressed one after the other.
"""
OF_TWO = {
    "agreement": ("/review/agreement", "light", WIDE),
    "disagreements": ("/review/disputes", "light", WIDE),
    "disagreement": ("/review/dispute?id=demo-03", "light", WIDE),
}
"""The same of the pages of a review by two."""


def main() -> int:
    """Write docs/images/serve-NAME.png for each page."""
    IMAGES.mkdir(exist_ok=True)
    database, gold, of_two = Path("demo.db"), Path("gold.csv"), Path("gold_by_two.csv")
    # Pages show these paths.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        server.write_demo(database, nanda())
        add_jobs(database)
        with running_browser() as browser:
            with served(database, gold=gold, workspace=server.DEMO) as app:
                sizes = {name: take(browser, app, name, *of) for name, of in PAGES.items()}
            with served(database, gold=of_two, double=1.0) as app:
                disagree(app)
                sizes |= {name: take(browser, app, name, *of) for name, of in OF_TWO.items()}
    for name, size in sizes.items():
        print(f"{name}: {size / 1000:.0f} kB")
    return int(max(sizes.values()) > MOST_BYTES)


def add_jobs(path: Path) -> None:
    """Record a job that has ended and one that runs, with all annotations as its own."""
    with open_corpus(path) as db:
        ended, running = (
            runs.start(
                db, skill="annotate", source=name, model="nanda-annotator", settings={"due": due}
            )
            for name, due in (("first.csv", 12), ("papers.csv", 42))
        )
        runs.finish(db, ended, "done", {"done": 12, "failed": 0})
        at = "2026-11-27T09:30:00+00:00"
        db.execute("UPDATE runs SET started_at = ? WHERE id IN (?, ?)", [at, ended, running])
        db.execute("UPDATE annotations SET run_id = ?", [running])


def disagree(app: Served) -> None:
    """Let two reviewers decide on the same papers, and edit the claim of some differently."""
    for reviewer, edited in (("Ada", (0, 5)), ("Bo", (5, 9))):
        with app.client() as client:
            shown = client.post("/review", data={"name": reviewer})
            for number in range(12):
                paper = {"id": shown.url.params["id"]}
                if number in edited:
                    text = f"{reviewer} words the claim otherwise."
                    edit = {"act": "edit", "move": "claim", "text": text}
                    client.post("/review/paper", data={**paper, **edit})
                shown = client.post("/review/paper", data={**paper, "act": "accept"})
                shown.raise_for_status()


def take(
    browser: Browser, app: Served, name: str, path: str, colours: str, size: dict[str, int]
) -> int:
    """Take the picture of a page, and return its size in bytes."""
    context = browser.new_context(color_scheme=colours, viewport=size)
    page = context.new_page()
    page.goto(app.entrance())
    if path.startswith("/review/") and path != "/review/agreement":
        headers = {"origin": app.origin}
        form = {"name": "Ada", "take_over": "Ada"}  # from the browser of the picture before
        context.request.post(f"{app.origin}/review", form=form, headers=headers)
    path, *pressed = path.split(" > ")
    page.goto(app.origin + path)
    for label in pressed:
        link = page.get_by_role("link", name=label, exact=True)
        link.or_(page.get_by_role("button", name=label, exact=True)).last.click()
    page.locator("#live").wait_for()
    if not pressed and (move := page.query_selector("button[data-move]")):
        move.click()
        page.mouse.move(0, 0)
    target = IMAGES / f"serve-{name}.png"
    page.screenshot(path=target)
    context.close()
    return target.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
