"""Documents that a skill offers to other programs, such as the papers of a corpus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.settings import Settings


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a skill.

    Attributes:
        key: identifies it within the skill, and stays the same.
        name: what a person calls it, such as the title of a paper.
        description: more about it, in a line.
    """

    key: str
    name: str
    description: str = ""


class DocumentSource(ABC):
    """Base class of a skill whose documents other programs can list and read.

    Both methods may be called while the skill runs, and in any thread.

    Attributes:
        document_type: the MIME type of the documents.
    """

    document_type = "application/json"

    @abstractmethod
    def documents(self, settings: Settings, after: str, most: int) -> Sequence[Document]:
        """Return at most `most` documents, always in the same order.

        Args:
            after: the key of the document before the first one to return; "" to begin.
        """

    @abstractmethod
    def document(self, settings: Settings, key: str) -> str:
        """Return the text of a document.

        Raises:
            NothingFound: there is none with this key.
        """
