"""What a judge by one token needs: an answer begun for it, the alternatives, and a slot of its own.

Against the real embedded model, and through Ollama's and OpenAI's real clients over real sockets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from protocol_server import ProtocolServer
from repository import EMBEDDED

from harness.errors import SkillFailed
from harness.models.backends.base import Message, Model, Reply, Request, Token
from harness.models.backends.generation import Watch, token_text
from harness.models.backends.llamacpp import LlamaCppBackend, LlamaCppModel
from harness.models.backends.ollama import OllamaBackend
from harness.models.backends.openai import OpenAIBackend
from harness.models.backends.remote import Unrepeated
from harness.models.schema import ServeEntry
from harness.models.weights import FileStore
from harness.testing import FakeModel

ABSTRACT = (
    "We count the birds of forty islands and find that small islands lose species faster. "
    "The loss follows the distance to the coast, not the area. "
) * 3
CRITERIA = ("supported", "complete", "clear", "specific", "useful")


def judge(criterion: str = "clear", paper: str = ABSTRACT, **fields: Any) -> Request:
    """A request for one digit: the paper first and the criterion last, as a panel asks."""
    asked = f"{paper}\n\nFrom 1 to 5, how {criterion} is this abstract? Answer with one digit."
    messages = (Message("system", "You judge abstracts."), Message("user", asked))
    wanted = {"max_tokens": 1, "prefill": "Rating: ", "top_logprobs": 100, "slot": 0}
    return Request(messages, **{**wanted, **fields})


def mass(told: Mapping[str, float]) -> float:
    return sum(math.exp(logprob) for logprob in told.values())


# The embedded model


@pytest.fixture(scope="module")
def two(model_files: FileStore) -> Iterator[LlamaCppModel]:
    """The embedded model with two slots of 1,024 tokens."""
    small = EMBEDDED.model_copy(update={"context": 1024})
    model = LlamaCppBackend(model_files).load(small, slots=2)
    yield model
    model.close()


@pytest.mark.model
def test_one_token_after_a_prefill_tells_its_alternatives(two: LlamaCppModel) -> None:
    pieces: list[str] = []
    reply = two.generate(judge(), pieces.append)
    assert "".join(pieces) == reply.text
    assert reply.text in "12345"
    (told,) = reply.logprobs
    assert 90 < len(told) <= 100  # several broken characters stand as one
    assert 0.5 < mass(told) <= 1
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert next(iter(told)) == reply.text, "the greedy choice is the most likely one"
    assert reply.prompt_tokens == two.count_tokens(judge())


@pytest.mark.model
def test_a_blank_at_the_end_of_a_prefill_decides_where_the_digits_are(two: LlamaCppModel) -> None:
    def digits(prefill: str) -> float:
        (told,) = two.generate(judge(prefill=prefill)).logprobs
        return sum(math.exp(told.get(digit, -math.inf)) for digit in "12345")

    assert digits("Rating: ") > 0.5
    assert digits("Rating:") < 0.1


@pytest.mark.model
@pytest.mark.parametrize(
    "prefill", ["Rating: ", "Rating:\n\n", " ", "Hé 你好 ", '{"score": ', "<p>"]
)
def test_a_prefill_is_no_part_of_the_text(two: LlamaCppModel, prefill: str) -> None:
    reply = two.generate(judge(prefill=prefill, max_tokens=4, top_logprobs=1))
    assert reply.completion_tokens == 4
    assert reply.text == "".join(next(iter(told)) for told in reply.logprobs)


@pytest.mark.model
def test_what_repeats_its_prefill_keeps_every_word(two: LlamaCppModel) -> None:
    grammar = 'start: "Rating: 4"'
    assert two.generate(judge(grammar=grammar, max_tokens=9)).text == "Rating: 4"


@pytest.mark.model
def test_alternatives_are_told_before_sampling_and_before_a_grammar(two: LlamaCppModel) -> None:
    free = two.generate(judge())
    hot = two.generate(judge(temperature=2.0, seed=5))
    bound = two.generate(judge(grammar='start: "9"'))
    assert bound.text == "9" != free.text
    for reply in (hot, bound):
        assert reply.logprobs[0] == pytest.approx(dict(free.logprobs[0]), abs=1e-4)


def only(text: str) -> dict[str, Any]:
    """A schema under which one text alone can be said."""
    said = {"type": "string", "enum": [text]}
    return {
        "type": "object",
        "properties": {"claim": said},
        "required": ["claim"],
        "additionalProperties": False,
    }


@pytest.mark.model
def test_the_tokens_of_a_text_that_must_be_said_tell_how_likely_it_is(two: LlamaCppModel) -> None:
    text = "The 'edge' effect, p < 0.05, is {beta} = 5 µm in Łukasz's naïve test of 雨."
    fields = {"prefill": "", "max_tokens": 200, "top_logprobs": 1}
    reply = two.generate(judge(json_schema=only(text), **fields))
    assert json.loads(reply.text) == {"claim": text}
    assert "".join(token.text for token in reply.tokens).startswith(
        """{"claim":"The 'edge' effect, p < 0.05, is {beta}"""
    )
    assert all(token.logprob <= 0 for token in reply.tokens)
    assert min(token.logprob for token in reply.tokens) < -3, "none of it is certain by the schema"


@pytest.mark.model
def test_what_a_prompt_says_is_likelier_than_what_it_does_not(two: LlamaCppModel) -> None:
    def likelihood(text: str) -> float:
        fields = {"prefill": "", "max_tokens": 100, "top_logprobs": 1}
        tokens = two.generate(judge(json_schema=only(text), **fields)).tokens[3:]
        return sum(token.logprob for token in tokens) / len(tokens)

    said = likelihood("Small islands lose species faster.")
    assert said > likelihood("Large engines burn kerosene slower.") + 1


@pytest.mark.model
def test_a_token_is_told_as_the_alternative_that_it_is(two: LlamaCppModel) -> None:
    for request in (judge(), judge(grammar='start: "9"'), judge(max_tokens=5)):
        reply = two.generate(request)
        assert len(reply.tokens) == len(reply.logprobs) == request.max_tokens
        for token, told in zip(reply.tokens, reply.logprobs, strict=True):
            assert token.logprob == pytest.approx(told[token.text], abs=1e-3)


@pytest.mark.model
def test_the_end_of_an_answer_is_told_as_an_empty_text(two: LlamaCppModel) -> None:
    request = judge(grammar='start: "4"', max_tokens=5)
    ended = two.generate(request)
    assert (ended.text, ended.finish_reason, ended.completion_tokens) == ("4", "stop", 2)
    after = two.generate(replace(request, grammar=None, prefill="Rating: 4"))
    assert "" in after.logprobs[0]


@pytest.mark.model
def test_a_kept_prompt_and_a_new_one_give_the_same_logprobs(two: LlamaCppModel) -> None:
    """With values as f16, the engine's own choice, they differed by 0.43: see `engine._kept`."""
    for criterion in CRITERIA[:2]:
        two.generate(judge(paper="Another text altogether.", slot=1))
        new = two.generate(judge(criterion, slot=1))
        two.generate(judge(criterion))
        kept = two.generate(judge(criterion))
        assert new.cached_tokens < 40
        assert kept.cached_tokens > kept.prompt_tokens - 5
        likeliest = list(new.logprobs[0])[:50]  # the last of a hundred may change places
        told = {text: kept.logprobs[0][text] for text in likeliest}
        assert told == pytest.approx({text: new.logprobs[0][text] for text in likeliest}, abs=1e-4)


@pytest.mark.model
def test_requests_that_begin_alike_read_their_beginning_once_in_a_slot(two: LlamaCppModel) -> None:
    two.generate(judge(paper="Another text altogether.", slot=1))
    replies = [two.generate(judge(criterion, slot=1)) for criterion in CRITERIA]
    first, *rest = (reply.prompt_tokens - reply.cached_tokens for reply in replies)
    assert first > 90
    assert max(rest) < 25
    elsewhere = two.generate(judge(paper="Another text altogether.", slot=0))
    assert elsewhere.cached_tokens < 40
    assert two.generate(judge(CRITERIA[-1], slot=1)).cached_tokens > 90, "slot 1 was left alone"


@pytest.mark.model
def test_requests_for_one_slot_wait_for_it_although_another_is_free(two: LlamaCppModel) -> None:
    two.generate(judge(paper="Another text altogether.", slot=1))
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda criterion: two.generate(judge(criterion)), CRITERIA[:3]))
    evaluated = sorted(reply.prompt_tokens - reply.cached_tokens for reply in replies)
    assert evaluated[1] < 25, "two of three found the beginning of the first"


@pytest.mark.model
def test_a_slot_that_the_model_lacks_is_a_fault_of_the_caller(two: LlamaCppModel) -> None:
    with pytest.raises(ValueError, match="no slot 2: the model has 2"):
        two.generate(judge(slot=2))


@pytest.mark.parametrize("fields", [{"slot": -1}, {"top_logprobs": -1}])
def test_negative_numbers_are_a_fault_of_the_caller(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        judge(**fields)


# What tokens are told as


def test_tokens_of_the_same_text_count_together_and_the_likeliest_is_first() -> None:
    watch = Watch(judge())
    four = Token("4", math.log(0.3))
    watch.tell(four, [("4", math.log(0.3)), ("5", math.log(0.4)), ("4", math.log(0.2))])
    watch.tell(Token(" of", -1.0), [])
    (told,) = watch.reply("stop", 1, 1).logprobs
    assert watch.reply("stop", 1, 1).tokens == (four, Token(" of", -1.0))
    assert list(told) == ["4", "5"]
    assert told == pytest.approx({"4": math.log(0.5), "5": math.log(0.4)})
    watch.tell(Token("a", -9999.0), [("a", -9999.0), ("a", -9999.0)])
    assert watch.logprobs[-1]["a"] == pytest.approx(-9999.0 + math.log(2))


def test_bytes_tell_a_blank_from_a_blank_with_half_an_emoji() -> None:
    assert token_text(" ", [32]) == " "
    assert token_text(" ", [32, 226]) == " \ufffd"
    assert token_text("é", None) == "é"
    assert token_text("", []) == ""


@pytest.mark.parametrize(
    ("prefill", "pieces", "handed_on"),
    [
        ("Rating: ", ["Rating: 4", " of 5"], ["4", " of 5"]),
        ("Rating: ", ["Ra", "", "ting: ", "4", "Rating: "], ["", "", "", "4", "Rating: "]),
        ("Rating: ", ["Rat", "her 4"], ["", "Rather 4"]),
        ("Rating: ", ["4", "Rating: "], ["4", "Rating: "]),
        ("", ["", "4"], ["", "4"]),
    ],
)
def test_a_repeated_prefill_is_taken_off_however_it_is_cut(
    prefill: str, pieces: list[str], handed_on: list[str]
) -> None:
    answer = Unrepeated(prefill)
    assert [answer.take(piece) for piece in pieces] == handed_on
    assert answer.rest() == ""


def test_an_answer_that_ends_inside_its_prefill_is_the_answer() -> None:
    answer = Unrepeated("Rating: ")
    assert answer.take("Rat") == ""
    assert answer.rest() == "Rat"


# Servers


TOLD = Reply("4 5", "length", 9, 2, 0.1, 0, ({"4 ": -0.25, " \ufffd": -1.5}, {"5": -0.5, "": -2.0}))


def ollama(server: ProtocolServer) -> Model:
    place = ServeEntry(backend="ollama", model="smollm2", url=server.url, context=2048)
    return OllamaBackend().load(place)


def openai(server: ProtocolServer) -> Model:
    place = ServeEntry(backend="openai", model="smollm2:latest", url=f"{server.url}/v1")
    return OpenAIBackend().load(place)


@pytest.fixture(params=[ollama, openai])
def load(request: pytest.FixtureRequest) -> Any:
    return request.param


def chats(server: ProtocolServer) -> list[Any]:
    return [*server.bodies("/api/chat"), *server.bodies("/v1/chat/completions")]


@pytest.mark.model
def test_servers_tell_what_the_embedded_engine_tells(
    load: Any, protocol_server: ProtocolServer, embedded: Model
) -> None:
    request = judge(max_tokens=3)
    pieces: list[str] = []
    reply = load(protocol_server).generate(request, pieces.append)
    here = embedded.generate(replace(request, top_logprobs=20))
    assert "".join(pieces) == reply.text == here.text
    assert len(reply.logprobs) == 3
    for there, ours in zip(reply.logprobs, here.logprobs, strict=True):
        assert there == pytest.approx(dict(ours), abs=1e-4)
    assert [token.text for token in reply.tokens] == [token.text for token in here.tokens]
    for told, own in zip(reply.tokens, here.tokens, strict=True):
        assert told.logprob == pytest.approx(own.logprob, abs=1e-4)


def test_the_cap_of_servers_is_kept_and_the_slot_is_theirs(load: Any) -> None:
    with ProtocolServer(FakeModel(TOLD)) as server:
        reply = load(server).generate(judge())
        assert reply.logprobs == TOLD.logprobs
        (sent,) = chats(server)
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 20)
    assert sent["messages"][-1] == {"role": "assistant", "content": "Rating: "}
    assert not {"slot", "id_slot", "prefill"} & sent.keys()


def test_nothing_is_asked_for_where_nothing_is_wanted(load: Any) -> None:
    with ProtocolServer(FakeModel("4")) as server:
        assert load(server).generate(judge(top_logprobs=0, prefill="")).logprobs == ()
        (sent,) = chats(server)
    assert not {"logprobs", "top_logprobs", "extra_body"} & sent.keys()
    assert sent["messages"][-1]["role"] == "user"
    assert "top_k" not in sent.get("options", {})


@pytest.mark.parametrize("how", ["ignored", "alone"])
def test_a_server_that_tells_no_alternatives_leaves_the_logprobs_empty(load: Any, how: str) -> None:
    with ProtocolServer(FakeModel(TOLD)) as server:
        server.logprobs = how
        reply = load(server).generate(judge())
    assert (reply.text, reply.logprobs) == ("4 5", ())
    known = (Token("4 ", -0.25), Token("5", -0.5)) if how == "alone" else ()
    assert reply.tokens == known


@pytest.mark.parametrize(("temperature", "whole"), [(0.0, {"top_k": 0, "top_p": 1.0}), (0.7, {})])
def test_ollama_is_asked_for_the_whole_distribution_where_that_changes_no_answer(
    temperature: float, whole: dict[str, float]
) -> None:
    with ProtocolServer(FakeModel(TOLD)) as server:
        ollama(server).generate(judge(temperature=temperature))
        options = chats(server)[0]["options"]
    assert {name: options[name] for name in ("top_k", "top_p") if name in options} == whole


def test_a_server_that_refuses_logprobs_answers_without_them() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        server.logprobs = "refused"
        reply = openai(server).generate(judge())
        asked, without = chats(server)
    assert (reply.text, reply.logprobs) == ("4", ())
    assert {key: asked[key] for key in asked.keys() - without.keys()} == {
        "logprobs": True,
        "top_logprobs": 20,
    }


def test_what_is_refused_without_logprobs_too_is_a_failure() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        model = openai(server)
        server.fail("refuse")
        with pytest.raises(SkillFailed, match="this request is not taken"):
            model.generate(judge())
        assert len(chats(server)) == 2


def test_vllm_is_told_to_go_on_and_its_words_are_all_kept() -> None:
    with ProtocolServer(FakeModel("Rating: 4")) as server:
        server.owner = "vllm"
        model = openai(server)
        assert model.generate(judge()).text == "Rating: 4"
        assert model.generate(judge(prefill="")).text == "Rating: 4"
        begun, plain = chats(server)
    assert (begun["continue_final_message"], begun["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in plain


@pytest.mark.parametrize("prefill", ["Rating: ", "My own rating: "])
def test_an_openai_server_that_repeats_the_prefill_has_it_taken_off(prefill: str) -> None:
    pieces: list[str] = []
    with ProtocolServer(FakeModel(f"{prefill}4")) as server:
        reply = openai(server).generate(judge(prefill=prefill), pieces.append)
    assert reply.text == "4" == "".join(pieces)


def test_an_openai_answer_that_is_a_part_of_the_prefill_is_kept() -> None:
    with ProtocolServer(FakeModel("My")) as server:
        assert openai(server).generate(judge(prefill="My own rating: ")).text == "My"


def test_a_server_that_does_not_say_who_owns_its_models_serves_them() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        server.owner = ""
        assert openai(server).generate(judge()).text == "4"


def test_a_prefill_counts_as_a_part_of_the_prompt() -> None:
    assert FakeModel().count_tokens(judge(prefill="one two")) == (
        FakeModel().count_tokens(judge(prefill="")) + 2
    )
