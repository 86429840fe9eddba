"""Recognize headings, and which part of a paper each begins.

Names are compared without blanks, case and numbers, since small capitals and letter-spaced headings
come as "A BSTRACT" or "A B S T R A C T".
"""

from __future__ import annotations

import re

from skills.corpus.tables.pdf.characters import Line

HEADING_WORDS = 14
"""Words of a heading."""
NUMBER = r"(?:\d{1,2}(?:\.\d{1,2}){0,3}[.)]?|[IVX]{1,5}[.)]?|[A-H][.)])"

_NUMBERED = re.compile(rf"({NUMBER})\s+(?=[A-Z])")
_BEFORE_NAME = re.compile(rf"^(?:{NUMBER}|§|•|■)\s*(?=[A-Za-z])")
_NOT_LETTERS = re.compile(r"[^a-z]+")
_LIMITATION = re.compile(r"limitations?|threatstovalidity|shortcomingsandfuture")
_OF_OTHERS = re.compile(
    r"limitations?(?:of|in)(?:the)?(?:existing|previous|prior|current|related|trad|other|stat)"
)
_CONCLUSION = re.compile(r"conclusions?|concludingremarks?|closingremarks?|conclusory")
_LAST = re.compile(
    r"(?:references|bibliography|literaturecited|acknowledg\w*|appendi(?:x|ces)\w*|fundings?|"
    r"funding(?:information|statement|sources?)|(?:supplement\w*|supporting)(?:information|material|data)\w*|"
    r"authorcontributions?|contributors?|competinginterests?|conflicts?ofinterests?\w*|"
    r"declarations?\w*|dataavailability\w*|availabilityof\w*|ethics\w*|ethical\w*|broaderimpacts?\w*|"
    r"impactstatement|reproducibility\w*|abbreviations|notes|disclosures?\w*|creditauthor\w*|"
    r"abouttheauthors?|orcid|consentforpublication|additional(?:information|files?)|futurework\w*|"
    r"checklist|received\w*)"
)
_AFTER_ABSTRACT = re.compile(
    r"(?:introduction|keywords?\w{0,12}|indexterms|ccsconcepts|acmreferenceformat|contents|"
    r"tableofcontents|generalterms|categoriesandsubjectdescriptors|articleinfo|authorsummary|"
    r"(?:graphical|plainlanguage|lay)\w{0,20}|highlights|rsum|zusammenfassung|resumen|nomenclature|"
    r"relatedwork|motivation|prologue|preface|significance|acknowledg\w*|references)"
)
_RUN_IN_END = re.compile(
    r"(?:Additional )?K(?:ey|EY)\s?-?\s?[Ww](?:ords|ORDS)\b|[Kk]eywords?\s?[:—–-]|"  # noqa: RUF001
    r"(?:Index|INDEX|General) (?:[Tt]erms|TERMS)\b|CCS (?:Concepts|CONCEPTS)|"
    r"Categories and Subject|ACM Reference|(?:JEL|MSC|PACS)\b|AMS (?:[Ss]ubject|[Mm]ath)|"
    r"Permission to make|Article [Hh]istory|(?:Received|Accepted)\b.{0,20}\d|"
    r"\*? ?Corresponding [Aa]uthor|Copyright\b|©|(?:doi|DOI|E-?mail|Citation|Editors?) ?:|"
    r"\d?\.? ?Introduction\b|Author [Ss]ummary\b"
)
"""What begins a line after an abstract, and seldom one within it."""
_PARTS = (
    "background", "objective", "aim", "purpose", "method", "material", "result", "finding",
    "conclusion", "interpretation", "significance", "design", "setting", "participant", "patient",
    "context", "importance", "main", "measurement", "limitation", "discussion", "rationale",
    "hypothesis", "question", "implication", "trial", "registration", "funding", "intervention",
    "introduction",
)  # fmt: skip
"""How the parts of a structured abstract begin."""
LONGEST_NAME = 60
"""Letters of the name of a section; a longer one is a sentence in bold."""


def name_of(text: str) -> str:
    """Return the name of a heading as names are compared: "7.1 Limitations" is "limitations"."""
    return _NOT_LETTERS.sub("", _BEFORE_NAME.sub("", text.strip(), count=1).casefold())


def kinds_of(name: str) -> list[str]:
    """Return the kinds of sections that a heading of this name begins."""
    found: list[str] = []
    if len(name) > LONGEST_NAME:
        return found
    if _LIMITATION.search(name) and not _OF_OTHERS.search(name):
        found.append("limitation")
    if _CONCLUSION.search(name):
        found.append("conclusion")
    return found


def is_short(text: str) -> bool:
    """Return True if a line may be a heading by its length and its end."""
    text = text.strip()
    return 0 < len(text.split()) <= HEADING_WORDS and len(text) <= 100 and text[-1] not in ",;-"


def level_of(line: Line) -> int:
    """Return how deep the number of a heading is: 1 for "7", 2 for "7.1", 0 without a number."""
    found = _NUMBERED.match(line.text.strip())
    return found[1].strip(".)").count(".") + 1 if found else 0


def stands_out(line: Line, body: Line) -> bool:
    """Return True if a line is set as a heading over text that is set as `body`."""
    letters = [char for char in line.text if char.isalpha()]
    capital = len(letters) > 3 and sum(map(str.isupper, letters)) > 0.9 * len(letters)
    larger = line.size > 1.06 * body.size
    other = line.font != body.font and (level_of(line) > 0 or line.size >= 0.98 * body.size)
    return (line.bold and not body.bold) or larger or capital or (other and is_title(line.text))


def is_title(text: str) -> bool:
    """Return True if text has no sentence: most words are capitalized, or it has a number."""
    words = [word for word in text.split() if word[0].isalpha()]
    capitals = sum(word[0].isupper() for word in words)
    return bool(words) and words[0][0].isupper() and (capitals * 2 >= len(words) or len(words) < 6)


def ends_paper(name: str) -> bool:
    """Return True if what follows a heading of this name belongs to no section before."""
    return _LAST.fullmatch(name) is not None


def is_references(name: str) -> bool:
    """Return True for the heading of the references."""
    return name in ("references", "bibliography", "literaturecited", "referencesandnotes")


def ends_abstract(line: Line, body: Line) -> bool:
    """Return True if a line follows the abstract whose text is set as `body`."""
    text = line.text.strip()
    name = name_of(text)
    if _RUN_IN_END.match(text):
        return True
    if not is_short(text):
        return False
    apart = stands_out(line, body)
    if _AFTER_ABSTRACT.fullmatch(name) and (apart or not text.endswith(".")):
        return True
    return apart and (level_of(line) > 0 or (line.bold and not is_structured(name)))


def is_structured(name: str) -> bool:
    """Return True for a part of a structured abstract, "methods" or "results and discussion"."""
    return name.startswith(_PARTS)


def without_number(text: str) -> str:
    """Return a heading for people: without its number, and without a mark at its end."""
    return " ".join(_BEFORE_NAME.sub("", text.strip(), count=1).rstrip(" .:—–-").split())  # noqa: RUF001
