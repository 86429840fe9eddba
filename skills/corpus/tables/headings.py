"""The names of columns in tables of people and programs, in ten languages.

The languages are English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Chinese and
Japanese; the programs are Zotero, Citavi, Scopus, Web of Science and others that export tables.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping


def plain(name: str) -> str:
    """Return a heading without case, accents, blanks and marks: "Author(s)" is "authors"."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


_NAMES = {
    "abstract": """Abstract, Abstract Note, Abstract Text, Zusammenfassung, Kurzfassung, Résumé,
        Resumen, Riassunto, Sommario, Resumo, Samenvatting, Streszczenie, Abstrakt, 摘要, 要旨,
        抄録, 要約, AB, Summary""",
    "title": """Title, Article Title, Document Title, Paper Title, Titel, Titre, Título, Titolo,
        Tytuł, Tytul, 标题, 標題, 题名, 題名, 题目, 篇名, タイトル, 論文名, TI""",
    "authors": """Authors, Author, Author Full Names, Autor, Autoren, Autor(en), Verfasser, Auteur,
        Auteurs, Auteur(s), Autores, Autor(es), Autore, Autori, Autorzy, 作者, 著者, 著者名, AU""",
    "published": """Published, Publication Date, Date Published, Publication Year, Published Year,
        PubYear, Year, Jahr, Erscheinungsjahr, Année, Année de publication, Año, Año de publicación,
        Anno, Anno di pubblicazione, Ano, Ano de publicação, Jaar, Rok, Rok wydania, 年份, 年,
        出版年, 发表年份, 発行年, PY, Date, Datum, Date de publication, Fecha, 日期, 日付""",
    "venue": """Venue, Journal, Publication Title, Source Title, Journal Title, Zeitschrift, Revue,
        Titre de la revue, Revista, Rivista, Tijdschrift, Czasopismo, 期刊, 刊名, 来源, 雑誌,
        雑誌名, 掲載誌, SO""",
    "doi": "DOI, DOI-Name, DI",
    "pmid": "PMID, PubMed ID, PubMed-ID",
    "arxiv_id": "arXiv ID, arXiv",
    "paper_id": "Paper ID",
}
HEADINGS: Mapping[str, tuple[str, ...]] = {
    role: tuple(dict.fromkeys(map(plain, names.split(",")))) for role, names in _NAMES.items()
}
"""What a column contains, and how it may be headed, in order of preference."""
