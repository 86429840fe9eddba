"""Select annotations of a table by words, as those of the corpus are."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from skills.corpus.search.texts import keys_with
from skills.curate.inputs.items import Item
from skills.nanda.framework import Framework


def with_words(items: Collection[Item], words: str, framework: Framework) -> set[str]:
    """Return the keys of the annotations that have all words and phrases.

    The words are searched for in the title and the abstract, in each stated move, and as the id, in
    any case and inflection.

    Raises:
        InputError: `words` is empty.
    """

    def texts() -> Iterator[tuple[str, str, str]]:
        for item in items:
            yield item.key, item.paper.title, item.paper.abstract
            for text in item.moves.values():
                if text != framework.not_stated:
                    yield item.key, "", text

    named = {item.key for item in items if item.paper.id == words.strip()}
    return named | keys_with(texts(), words)
