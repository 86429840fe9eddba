"""Papers that share a rare term are related."""

from __future__ import annotations

from skills.corpus.exports.vault_note import FEW, LINKS, MOST, related, terms_of


def test_terms_are_specific_pairs_and_names_with_a_capital() -> None:
    found = terms_of(
        [
            "LoRA adapters improve Plan Repair.",
            "The large model, an LLM",
            "Extensive experiments show gains.",
        ]
    )
    assert found[("plan", "repair")] == "plan repair"
    assert found[("lora",)] == "LoRA"
    assert ("adapt",) not in found  # one common word
    assert ("larg", "model") not in found  # a generic word first
    assert ("llm",) not in found
    assert not terms_of(["Extensive experiments of a large test show small gains."])


def test_rarer_terms_come_first() -> None:
    a, b, c = ("a", "x"), ("b", "x"), ("c", "x")
    assert related([[a, b, c], [a], [a, b, c]])[0] == [(2, [b, c, a]), (1, [a])]


def test_terms_of_many_papers_join_nothing() -> None:
    term = ("plan", "repair")
    assert all(related([[term]] * FEW))
    assert not any(related([[term]] * (FEW + 1)))
    assert not any(related([[term]] * (MOST + 1) + [[]] * 1000))


def test_links_are_few() -> None:
    papers = [[(str(other), "x")] for other in range(20)]
    hub = [term for terms in papers for term in terms]
    assert len(related([hub, *papers])[0]) == LINKS
