"""The pages of a review without JavaScript, by axe-core, and what their addresses refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import browsed_corpus
import corpus_papers
import httpx
import pytest
from browser_page import Browser, expect
from reviewed_corpus import build, decisions, gold, gold_of, reviewed
from reviewing import row, write_rows
from served_app import Served, served

from skills.curate.review.leases import MINUTES
from skills.curate.review.reviewer import name_lock
from skills.nanda.framework import nanda
from skills.serve.review_participants import PARTICIPANT, Participants

FIRST, SECOND = "2505.00001", "2605.00002"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return build(tmp_path, papers=3)


@pytest.fixture
def app(database: Path) -> Iterator[Served]:
    with reviewed(database) as running:
        yield running


@pytest.fixture
def client(app: Served) -> Iterator[httpx.Client]:
    with app.client() as opened:
        yield opened


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(f"/review{path}", data=fields)


def act(client: httpx.Client, name: str, **fields: str) -> httpx.Response:
    return post(client, "/paper", id=fields.pop("id", FIRST), act=name, **fields)


def test_without_a_name_there_is_no_paper(client: httpx.Client) -> None:
    for path in ("/next", "/paper?id=x", "/dispute?id=x"):
        assert client.get(f"/review{path}").url.path == "/review"
    assert post(client, "/draft", id=FIRST, move="claim", text="x").status_code == 409
    assert post(client, "", name=" ").status_code == 400
    assert post(client, "", name="Ada", sample="many").status_code == 400
    answer = post(client, "", name="Ada", words="nowhere")
    assert "no annotation has the words" in answer.text
    assert 'value="nowhere"' in answer.text


def test_the_annotations_are_read_once(app: Served) -> None:
    participants = Participants(app.state)
    with participants.overview() as one, participants.overview() as other:
        assert one is other


def test_the_queue_may_be_a_selection(client: httpx.Client) -> None:
    assert "1 of 1 " in post(client, "", name="Ada", words="Keeper2").text
    assert "1 of 2 " in post(client, "", name="Ada", sample="2", seed="3").text
    assert "1 of 1 " in post(client, "", name="Ada", where="claim~Keeper3").text
    assert post(client, "", name="Ada", where="claim=maybe").status_code == 400
    assert 'value="a&#34;b"' in client.get('/review?words=a"b').text


def test_unknown_actions_moves_and_papers_are_refused(client: httpx.Client, database: Path) -> None:
    post(client, "", name="Ada")
    assert act(client, "delete").status_code == 409
    assert act(client, "edit", move="../claim", text="x").status_code == 400
    assert act(client, "accept", id="9999.00001").status_code == 404
    assert post(client, "/draft", id=FIRST, move="no", text="x").status_code == 400
    assert post(client, "/draft", id="no", move="claim", text="x").status_code == 404
    assert not gold_of(database).exists()


def test_a_decision_from_another_origin_is_refused(client: httpx.Client, database: Path) -> None:
    post(client, "", name="Ada")
    for origin in ("http://127.0.0.1:1", "null"):
        answer = client.post(
            "/review/paper", data={"id": FIRST, "act": "accept"}, headers={"origin": origin}
        )
        assert answer.status_code == 403
    assert client.get("/review/paper?id=" + FIRST + "&act=accept").status_code == 200
    assert not gold_of(database).exists()


def test_the_paper_of_another_reviewer_leads_to_the_next(app: Served) -> None:
    with app.client() as ada, app.client() as bo:
        post(ada, "", name="Ada")
        post(bo, "", name="Bo")
        answer = act(bo, "accept")
        assert answer.status_code == 409
        assert f"Ada has paper {FIRST} now" in answer.text
        assert act(ada, "accept").status_code == 200
        answer = act(bo, "reject")
        assert "decided on already by Ada" in answer.text


def test_one_name_is_used_in_one_browser_at_a_time(app: Served, database: Path) -> None:
    with app.client() as one, app.client() as other:
        post(one, "", name="Ada")
        answer = post(other, "", name=" Ada ")
        assert answer.status_code == 400
        assert "Ada reviews in another browser" in answer.text
        assert "Continue as" in answer.text
        assert act(one, "edit", move="claim", text="By Ada.").status_code == 200
        assert post(other, "", name="Ada", take_over="Bo").status_code == 400
        assert "1 of 3" in post(other, "", name="Ada", take_over="Ada").text
        for answer in (
            act(one, "accept"),
            post(one, "/draft", id=FIRST, move="claim", text="Lost"),
            post(one, "/undo"),
        ):
            assert answer.status_code == 409
            assert "Ada continues in another browser" in answer.text
            assert "Your last action was not stored" in answer.text
        assert "Ada continues in another browser" in one.get("/review/next").text
        assert 'name="name" value="Ada"' in one.get("/review").text
        assert act(other, "accept").status_code == 200
        assert [row["claim"] for row in gold(database)] == ["By Ada."]
        assert "3 of 3" in post(one, "", name="Bo").text  # Ada has paper 2
        assert post(other, "", name="Ada", sample="2").status_code == 200  # the same name again


def test_the_name_of_a_browser_that_is_gone_is_free(app: Served) -> None:
    with app.client() as one, app.client() as other:
        post(one, "", name="Ada")
        [session] = [s for s in app.state.sessions._open.values() if PARTICIPANT in s]
        session[PARTICIPANT].used -= MINUTES * 60
        assert "1 of 3" in post(other, "", name="Ada").text


def test_a_name_that_is_used_at_a_terminal_is_refused(app: Served, database: Path) -> None:
    locks = app.state.settings.data_dir / "reviews"
    with app.client() as client:
        with name_lock(locks, gold_of(database), "Ada"):
            assert "is locked by process" in post(client, "", name="Ada").text
        assert "1 of 3" in post(client, "", name="Ada").text


def test_a_passage_by_words_and_an_edit_that_is_refused(
    client: httpx.Client, database: Path
) -> None:
    post(client, "", name="Ada")
    answer = act(client, "anchor", move="claim", passage="not in it")
    assert "these words are not in the abstract" in answer.text
    act(client, "anchor", move="claim", passage="a planner")
    act(client, "edit", move="claim", text="Another claim.")
    answer = act(client, "original", move="claim")
    assert "Claim is the text under review again" in answer.text
    act(client, "accept")
    last = decisions(database)[-1]
    assert list(last["anchors"]) == ["claim"]
    assert last["changed"] == []


def test_new_annotations_are_read(client: httpx.Client, database: Path) -> None:
    assert "of 3 annotations" in client.get("/review").text
    build(database.parent, papers=5)
    assert "of 5 annotations" in client.get("/review").text


def test_confidences_and_doubts_are_shown(tmp_path: Path) -> None:
    sure = dict.fromkeys(nanda().names, 0.9)
    less = {**dict.fromkeys(nanda().names, 0.5), "claim": 0.25}
    one, two = browsed_corpus.annotated(1), browsed_corpus.annotated(2, evidence="It has 77 oars.")
    one.record["confidence"], two.record["confidence"] = sure, less
    database = corpus_papers.corpus_of(tmp_path / "corpus.db", [one, two])
    with reviewed(database) as app, app.client() as client:
        shown = post(client, "", name="Ada").text
    assert SECOND in shown  # the least certain paper comes first
    assert "certainty 0.47" in shown
    assert ">confidence 0.25<" in shown
    assert "numbers that are not in the abstract: 77" in shown
    assert "uncertain: confidence 0.25" in shown


def test_papers_that_teach_most_come_first(tmp_path: Path) -> None:
    items = [browsed_corpus.annotated(number) for number in (1, 2)]
    for item, share in zip(items, (0.9, 0.5), strict=True):
        item.record["confidence"] = dict.fromkeys(nanda().names, share)
    database = corpus_papers.corpus_of(tmp_path / "corpus.db", items)
    with reviewed(database) as app, app.client() as client:
        for order in ("", "teach", "uncertain"):
            assert SECOND in post(client, "", name="Ada", order=order).text
            assert f'<option value="{order}" selected>' in client.get("/review").text
        assert "unknown order" in post(client, "", name="Ada", order="random").text


def test_after_a_round_the_line_that_trains_is_offered(tmp_path: Path) -> None:
    database = build(tmp_path, papers=22)
    right = "Right so far: 160 of 160 moves (100%, 98% to 100%) of 20 papers"
    line = f"/finetune {gold_of(database)} --reader --as-name my-annotator"
    with reviewed(database) as app, app.client() as client:
        shown = post(client, "", name="Ada")
        for _ in range(20):
            assert right not in shown.text
            shown = act(client, "accept", id=shown.url.params["id"])
        assert f'<details class="round" open><summary>{right}' in shown.text
        assert line in shown.text
        assert "<dt>Claim</dt><dd>20 of 20</dd>" in shown.text
        again = client.get(str(shown.url)).text
        assert f'<details class="round"><summary>{right}' in again
        assert line in client.get("/review").text
        for _ in range(2):
            shown = act(client, "accept", id=shown.url.params.get("id", ""))
        assert "No paper is left" in shown.text
        assert line in shown.text


def test_a_suggestion_is_taken(tmp_path: Path) -> None:
    item = browsed_corpus.annotated(1, scope="Not stated.")
    one = {"text": "Fleets.", "confidence": 0.21, "sentences": [1], "spans": [[0, 5]]}
    item.record["suggestions"] = {"scope": one}
    database = corpus_papers.corpus_of(tmp_path / "corpus.db", [item])
    with reviewed(database) as app, app.client() as client:
        shown = post(client, "", name="Ada").text
        assert "? suggestion, confidence 0.21: Fleets." in shown
        taken = act(client, "suggestion", id=item.paper.id, move="scope").text
    assert "Scope is the suggestion." in taken
    assert "was: <span" in taken
    assert "? suggestion" not in taken


def test_a_table_is_reviewed(tmp_path: Path) -> None:
    database = build(tmp_path, papers=1)
    table = write_rows(tmp_path / "agent.csv", row(1), row(2))
    with served(database, table=table) as app, app.client() as client:
        assert "1 of 2 " in post(client, "", name="Ada").text
        act(client, "accept", id="2405.00001")
        assert post(client, "", name="Ada", where="claim=stated").status_code == 400
    assert gold(database) == [row(1)]


def test_it_works_without_javascript(browser: Browser, app: Served, database: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(app.entrance("/review"))
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Begin").click()
    claim = page.locator("#move-claim")
    claim.get_by_text("Edit").click()
    claim.get_by_label("Text of Claim").fill("By hand.")
    claim.get_by_role("button", name="Save").click()
    expect(claim.locator(".text")).to_have_text("By hand.")
    page.locator("#move-method").get_by_role("button", name="Not stated").click()
    scope = page.locator("#move-scope")
    scope.get_by_text("Highlight").click()
    scope.get_by_label("Sentence numbers").fill("2,3")
    scope.get_by_role("button", name="Set").click()
    expect(scope.locator(".origin")).to_contain_text("from sentences 2 and 3")
    page.get_by_role("button", name="Accept").click()
    page.get_by_text("Reject r").click()
    page.get_by_label("Reason").fill("thin")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Skip").click()
    expect(page.locator(".head")).to_contain_text("3 of 3")
    context.close()
    [row] = gold(database)
    assert (row["claim"], row["method"]) == ("By hand.", "Not stated.")
    assert [one["what"] for one in decisions(database)][-3:] == ["accept", "reject", "undo"]


def test_agreement_of_few_papers_has_no_interval(tmp_path: Path) -> None:
    with reviewed(build(tmp_path, papers=2), double=1.0) as app:
        for name in ("Ada", "Bo"):
            with app.client() as client:
                post(client, "", name=name)
                act(client, "accept")
                if name == "Bo":
                    act(client, "not-stated", id=SECOND, move="claim")
                act(client, "accept", id=SECOND)
                shown = client.get("/review/agreement").text
    assert '0.00<span class="interval">no interval</span>' in shown
    assert "unitizing alpha" in shown


def test_a_disagreement_is_not_settled_without_a_choice(tmp_path: Path) -> None:
    database = build(tmp_path, papers=1)
    with reviewed(database, double=1.0) as app, app.client() as ada, app.client() as bo:
        post(ada, "", name="Ada")
        post(bo, "", name="Bo")
        act(ada, "accept")
        act(bo, "edit", move="claim", text="Bo's claim.")
        act(bo, "accept")
        answer = post(ada, "/dispute", id=FIRST, act="accept")
        assert answer.status_code == 409
        assert "no text of Claim is chosen" in answer.text
        assert gold(database) == []
        post(ada, "/dispute", id=FIRST, act="accept", **{"choice-claim": "1"})
    assert [one["claim"] for one in gold(database)] == ["Bo's claim."]


def test_one_of_two_equal_texts_is_checked(tmp_path: Path) -> None:
    database = build(tmp_path, papers=1)
    with reviewed(database, double=1.0) as app, app.client() as ada, app.client() as bo:
        post(ada, "", name="Ada")
        post(bo, "", name="Bo")
        act(ada, "accept")
        for move in ("claim", "method"):
            act(bo, "edit", move=move, text=f"Bo's {move}.")
        act(bo, "accept")
        journal = database.with_name("gold_review.jsonl")
        third = {**decisions(database)[-1], "reviewer": "Cy"}
        with journal.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(third)}\n")
        answer = post(ada, "/dispute", id=FIRST, act="accept", **{"choice-claim": "2"})
    assert "no text of Method is chosen" in answer.text
    assert answer.text.count(' name="choice-claim"') == 4
    assert answer.text.count(" checked>") == 1


@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 1600)])
def test_axe_finds_nothing_serious(
    browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core, of dev")
    database = build(tmp_path, papers=2)
    with reviewed(database, double=1.0) as app, app.client() as bo:
        post(bo, "", name="Bo")
        act(bo, "edit", move="claim", text="Another claim.")
        act(bo, "accept")
        context = browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 900},
        )
        page = context.new_page()
        page.goto(app.entrance("/review"))

        def check() -> None:
            found = axe.Axe().run(page).response["violations"]
            serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
            assert serious == [], page.url
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url

        check()
        page.keyboard.type("Ada")
        page.keyboard.press("Enter")
        expect(page.locator(".head")).to_contain_text("1 of 2")
        check()
        page.keyboard.press("1")
        page.keyboard.type(" More.")
        check()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        check()
        page.keyboard.press("Escape")
        page.keyboard.press("r")
        expect(page.get_by_label("Reason")).to_be_focused()
        check()
        page.keyboard.press("Escape")
        with page.expect_navigation():
            page.keyboard.press("a")
        with page.expect_navigation():
            page.keyboard.press("s")
        expect(page.locator("h1")).to_have_text("No paper is left")
        check()
        page.goto(app.origin + "/review/agreement")
        check()
        page.goto(app.origin + "/review/disputes")
        check()
        with page.expect_navigation():  # waits for the style sheets
            page.locator(".rows a").click()
        expect(page.locator("fieldset.differs")).to_have_count(1)
        check()
        context.close()
