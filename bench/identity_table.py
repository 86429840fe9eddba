"""Make the table of bench/identity.py: invented papers, duplicates and neighbours."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from skills.corpus.identity.identifiers import Known, identifiers
from skills.corpus.identity.titles import fold

Change = Callable[[Known, random.Random], Known]


def words_of(text: str) -> list[str]:
    return text.split()


SUBJECTS = words_of(
    """
    Planning Retrieval Delegation Negotiation Debugging Navigation Translation Memory
    Verification Scheduling Reflection Grounding Summarization Simulation Calibration
    Coordination Exploration Alignment Annotation Forecasting
    """
)
KINDS = words_of(
    """
    Agents Models Teams Crawlers Assistants Controllers Tutors Reviewers Planners Robots Parsers
    Solvers Archives Ledgers Markets Networks
    """
)
MANNERS = words_of(
    """
    Hierarchical Self-Supervised Reactive Verified Sparse Modular Tool-Augmented Multi-Agent
    Probabilistic Incremental Adversarial Resource-Aware Curiosity-Driven Symbolic
    """
)
PLACES = (
    "Noisy Warehouses",
    "Long Documents",
    "Partially Observable Games",
    "Small Hospitals",
    "Open Markets",
    "Legal Archives",
    "Distributed Databases",
    "Multilingual Classrooms",
    "Simulated Cities",
    "Public Libraries",
    "Protein Design",
    "Compiler Testing",
    "Rural Networks",
    "Satellite Imagery",
)
SUBTITLES = (
    "A Survey of Methods",
    "An Empirical Study",
    "Lessons from the Field",
    "Theory and Practice",
    "A Benchmark and an Analysis",
    "What Works and What Does Not",
    "The Role of Feedback",
    "Towards Reliable Evaluation",
)
FAMILIES = words_of(
    """
    Müller Nguyễn García Øst Łukasik Çelik Dvořák Åberg Smith Okafor Tanaka Ivanova Rossi Haddad
    Novák Björk O'Brien Silva Kowalska Jørgensen Wang Zhang Li Chen Kumar Ferrández Weiß
    Petrović Lindqvist Moreau
    """
)
GIVEN = words_of(
    """
    Anna José Wei Yūki Maria-Luisa Jean-Pierre Björn Chidi Olga Priya Łucja Émile Sofía Tom Xiao
    Karim Ingrid Noam Fatima Lars
    """
)
VENUES = ("Journal of Agent Studies", "Proceedings of the Workshop on Ledgers", "Annals of Tools")
TEX = {
    "ü": r'\"{u}', "ö": r'{\"o}', "é": r"\'e", "É": r"\'{E}", "í": r"\'{\i}", "á": r"{\'a}",
    "ř": r"\v{r}", "ø": r"{\o}", "Ø": r"{\O}", "Ł": r"{\L}", "ł": r"\l{}", "Ç": r"\c{C}",
    "ß": r"{\ss}", "å": r"{\aa}", "Å": r"\r{A}", "ć": r"\'{c}", "ū": r"\={u}",
}  # fmt: skip
PLAIN = {"ü": "ue", "ö": "oe", "ø": "o", "Ø": "O", "Ł": "L", "ł": "l", "ß": "ss"}


def base(number: int, chance: random.Random) -> Known:
    """Return an invented paper with an arXiv id, a DOI, or no identifier."""
    main = (
        f"{chance.choice(MANNERS)} {chance.choice(SUBJECTS)} {chance.choice(('for', 'with', 'by'))}"
        f" {chance.choice(MANNERS)} {chance.choice(KINDS)} in {chance.choice(PLACES)}"
    )
    title = f"{main}: {chance.choice(SUBTITLES)}" if chance.random() < 0.6 else main
    people = [
        f"{chance.choice(GIVEN)} {chance.choice(FAMILIES)}" for _ in range(chance.randint(1, 5))
    ]
    ids = chance.choice(({"arxiv"}, {"doi"}, {"doi", "pmid"}, {"arxiv", "openalex"}, set()))
    made = {
        "arxiv": f"24{chance.randint(1, 12):02}.{number:05}",
        "doi": f"10.1234/jas.{number:06}",
        "pmid": str(30_000_000 + number),
        "openalex": f"W{40_000_000 + number}",
    }
    published = "doi" in ids
    return Known(
        {kind: made[kind] for kind in sorted(ids)},
        title,
        ", ".join(people),
        chance.randint(2015, 2025),
        chance.choice(VENUES) if published else "",
    )


def without_ids(paper: Known) -> Known:
    return replace(paper, identifiers={})


def people_of(paper: Known) -> list[tuple[str, str]]:
    return [(one.split(" ", 1)[0], one.split(" ", 1)[1]) for one in paper.authors.split(", ")]


def in_case(paper: Known, chance: random.Random) -> Known:
    change = chance.choice((str.upper, str.lower, str.capitalize))
    return replace(without_ids(paper), title=change(paper.title))


def without_accents(paper: Known, _: random.Random) -> Known:
    text = "".join(PLAIN.get(char, char) for char in paper.authors)
    plain = unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode()
    return replace(without_ids(paper), authors=plain)


def in_tex(paper: Known, chance: random.Random) -> Known:
    words = paper.title.split(" ")
    place = chance.randrange(len(words))
    words[place] = chance.choice(("{{{}}}", r"\emph{{{}}}", "{{\\em {}}}")).format(words[place])
    authors = "".join(TEX.get(char, char) for char in paper.authors).replace(", ", " and ")
    return replace(without_ids(paper), title="{" + " ".join(words) + "}", authors=authors)


def without_subtitle(paper: Known, _: random.Random) -> Known:
    return replace(without_ids(paper), title=paper.title.split(": ")[0])


def cut_off(paper: Known, chance: random.Random) -> Known:
    words = paper.title.split(" ")
    kept = max(7, len(words) - chance.randint(1, 3))
    return replace(without_ids(paper), title=" ".join(words[:kept]) + "...")


def with_initials(paper: Known, chance: random.Random) -> Known:
    def initials(given: str) -> str:
        return "-".join(f"{part[0]}." for part in given.split("-"))

    form = chance.choice(("{0} {1}", "{1}, {0}"))
    people = [form.format(initials(given), family) for given, family in people_of(paper)]
    return replace(without_ids(paper), authors="; ".join(people))


def as_pubmed(paper: Known, _: random.Random) -> Known:
    people = [
        f"{family} {''.join(part[0] for part in given.split('-'))}"
        for given, family in people_of(paper)
    ]
    return replace(without_ids(paper), authors=", ".join(people))


def family_first(paper: Known, chance: random.Random) -> Known:
    form = chance.choice(("{1}, {0}", "{1} {0}"))
    people = [form.format(given, family) for given, family in people_of(paper)]
    return replace(without_ids(paper), authors=" and ".join(people))


def et_al(paper: Known, _: random.Random) -> Known:
    return replace(without_ids(paper), authors=f"{people_of(paper)[0][1]} et al.")


def without_authors(paper: Known, _: random.Random) -> Known:
    return replace(without_ids(paper), authors="")


def other_year(paper: Known, chance: random.Random) -> Known:
    return replace(without_ids(paper), year=(paper.year or 0) + chance.choice((-1, 1)))


def without_year(paper: Known, _: random.Random) -> Known:
    return replace(without_ids(paper), year=None)


def other_marks(paper: Known, chance: random.Random) -> Known:
    title = paper.title.replace("-", chance.choice(("", " ", "\N{NON-BREAKING HYPHEN}")))
    title = title.replace(": ", chance.choice((" - ", ". ", " \N{EM DASH} ", ": The ")))
    return replace(without_ids(paper), title=f"{title}.")


def with_typo(paper: Known, chance: random.Random) -> Known:
    words = paper.title.split(" ")
    place = chance.choice([n for n, word in enumerate(words) if len(word) > 7])
    word = words[place]
    at = chance.randrange(2, len(word) - 3)
    words[place] = chance.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )
    return replace(without_ids(paper), title=" ".join(words))


def as_published(paper: Known, chance: random.Random) -> Known:
    """Return the other version of a paper: the publication of a preprint, or the preprint."""
    number = chance.randrange(10**6)
    year = (paper.year or 0) + chance.choice((0, 1, 2))
    if "arxiv" in paper.identifiers:
        found = {"doi": f"10.9876/annals.{number:06}"}
        return replace(paper, identifiers=found, year=year, venue=chance.choice(VENUES))
    found = {"arxiv": f"2306.{number % 100000:05}"}
    return replace(paper, identifiers=found, venue="")


def spelled_ids(paper: Known, chance: random.Random) -> Known:
    """Return the record with its identifier in another spelling, and with a truncated title."""
    forms = {
        "doi": ("https://doi.org/{}", "doi:{}", "http://dx.doi.org/{}", "DOI {}", "{}."),
        "arxiv": ("arXiv:{}v3", "https://arxiv.org/abs/{}v1", "{}v2", "10.48550/arXiv.{}"),
        "pmid": ("PMID: {}", "https://pubmed.ncbi.nlm.nih.gov/{}/"),
        "openalex": ("https://openalex.org/{}", "{}"),
    }
    kind, value = chance.choice(sorted(paper.identifiers.items()))
    written = chance.choice(forms[kind]).format(value)
    written = written.upper() if kind == "doi" and chance.random() < 0.5 else written
    title = " ".join(paper.title.split(" ")[:4])
    return replace(paper, identifiers=identifiers(written), title=title, year=None)


def twice(paper: Known, chance: random.Random) -> Known:
    first, second = (
        chance.sample((in_case, other_marks, in_tex), 1)[0],
        chance.choice((with_initials, family_first, other_year)),
    )
    of_title, of_people = first(paper, chance), second(paper, chance)
    return replace(of_people, title=of_title.title)


CHANGES: dict[str, Change] = {
    "case of the title": in_case,
    "accents lost": without_accents,
    "TeX": in_tex,
    "subtitle lost": without_subtitle,
    "title cut off": cut_off,
    "initials": with_initials,
    "as PubMed writes names": as_pubmed,
    "family name first": family_first,
    "et al.": et_al,
    "no authors": without_authors,
    "year +-1": other_year,
    "no year": without_year,
    "hyphens and marks": other_marks,
    "typo": with_typo,
    "preprint and published": as_published,
    "identifier spelled otherwise": spelled_ids,
    "two changes": twice,
}


def by_others(paper: Known, chance: random.Random) -> Known:
    taken = {family for _, family in people_of(paper)}
    family = chance.choice([name for name in FAMILIES if name not in taken])
    return replace(without_ids(paper), authors=f"{chance.choice(GIVEN)} {family}")


def initial_differs(paper: Known, chance: random.Random) -> Known:
    given, family = people_of(paper)[0]
    other = chance.choice([name for name in GIVEN if fold(name[0]) != fold(given[0])])
    return replace(without_ids(paper), authors=f"{other[0]}. {family}")


def with_suffix(*choices: str) -> Change:
    def change(paper: Known, chance: random.Random) -> Known:
        return replace(without_ids(paper), title=f"{paper.title}{chance.choice(choices)}")

    return change


def with_prefix(*choices: str) -> Change:
    def change(paper: Known, chance: random.Random) -> Known:
        return replace(without_ids(paper), title=f"{chance.choice(choices)}{paper.title}")

    return change


def other_word(paper: Known, chance: random.Random) -> Known:
    words = paper.title.split(" ")
    known = [n for n, word in enumerate(words) if word in SUBJECTS]
    words[known[0]] = chance.choice([word for word in SUBJECTS if word != words[known[0]]])
    return replace(without_ids(paper), title=" ".join(words))


def negated(paper: Known, _: random.Random) -> Known:
    words = paper.title.split(" ")
    words[0] = f"Non-{words[0]}"
    return replace(without_ids(paper), title=" ".join(words))


def other_subtitle(paper: Known, chance: random.Random) -> Known:
    main, _, own = paper.title.partition(": ")
    other = chance.choice([one for one in SUBTITLES if one != own])
    return replace(without_ids(paper), title=f"{main}: {other}")


def years_later(paper: Known, _: random.Random) -> Known:
    return replace(without_ids(paper), year=(paper.year or 0) + 4)


def other_doi(paper: Known, chance: random.Random) -> Known:
    """Return another published paper with the same title and authors, such as a yearly report."""
    return replace(paper, identifiers={"doi": f"10.5555/other.{chance.randrange(10**6)}"})


def chapter(paper: Known, chance: random.Random) -> Known:
    """Return another chapter with the same DOI, as in exports that use the DOI of the volume."""
    other = base(10**6 + chance.randrange(10**6), chance)
    return replace(other, identifiers={"doi": paper.identifiers["doi"]})


NEIGHBOURS: dict[str, Change] = {
    "same title by others": by_others,
    "same family name, other initial": initial_differs,
    "part of a series": with_suffix(" II", ", Part 2", " (Part Two)", ": Part III"),
    "erratum, comment, reply": with_prefix(
        "Erratum: ", "Comment on ", "Reply to: ", "Correction to "
    ),
    "another edition": with_suffix(" 2023", " (2nd Edition)", " v2"),
    "another word": other_word,
    "negated": negated,
    "another subtitle": other_subtitle,
    "four years later": years_later,
    "another DOI": other_doi,
    "chapter under the same DOI": chapter,
}
GENERIC = ("Introduction", "Editorial", "Preface", "Book Reviews", "Discussion")


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the table, with the number of its paper and the change that made the record."""

    paper: int
    kind: str
    known: Known


def table(duplicates: int, seed: int) -> list[Row]:
    """Return the records: papers with a duplicate, papers with a neighbour, and generic titles."""
    chance = random.Random(seed)
    rows, changes, neighbours = [], list(CHANGES), list(NEIGHBOURS)
    for number in range(duplicates):
        kind = changes[number % len(changes)]
        paper = _base_for(kind, number, chance)
        rows += [Row(number, "", paper), Row(number, kind, CHANGES[kind](paper, chance))]
    for number in range(duplicates, 2 * duplicates):
        near = neighbours[number % len(neighbours)]
        paper = _base_for(near, number, chance)
        rows += [Row(number, "", paper), Row(-number, near, NEIGHBOURS[near](paper, chance))]
    for number in range(duplicates // 20):
        authors = f"{chance.choice(GIVEN)} {chance.choice(FAMILIES)}"
        paper = Known({}, chance.choice(GENERIC), authors, 2020)
        rows.append(Row(10**9 + number, "generic title", paper))
    chance.shuffle(rows)
    return rows


def _base_for(kind: str, number: int, chance: random.Random) -> Known:
    """Return an invented paper to which a kind of change can be applied."""
    while True:
        paper = base(number, chance)
        needed = {
            "identifier spelled otherwise": bool(paper.identifiers),
            "preprint and published": bool(paper.identifiers),
            "another DOI": "doi" in paper.identifiers,
            "chapter under the same DOI": "doi" in paper.identifiers,
            "subtitle lost": ": " in paper.title,
            "another subtitle": ": " in paper.title,
            "title cut off": len(paper.title.split(" ")) > 7,
            "accents lost": not paper.authors.split(", ")[0].isascii(),
        }
        if needed.get(kind, True):
            return paper
