"""Test which names may be those of one person."""

from __future__ import annotations

import pytest

from skills.corpus.identity.matching import names, same_first, shared


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna Müller, Wei Wang", "Müller, Anna; Wang, Wei", True),
        ("Anna Müller", "Mueller A", True),
        ("Anna Müller", "Müller, Anna", True),
        ("Anna Müller, Wei Wang", "Muller et al.", True),
        ("Anna Müller, Wei Wang", 'M{\\"u}ller, Anna and Wang, Wei', True),
        ("Jean-Pierre Smith", "Smith JP, Wang W", True),
        ("Jean-Pierre Smith", "J.-P. Smith", True),
        ("José Øst", "Jose Ost", True),
        ("Wang Wei", "Wei Wang", True),
        ("Wei Wang", "Wei Zhang", False),
        ("J. Smith", "M. Smith", False),
        ("L. Moreau", "Maria-Luisa Moreau", False),
        ("Anna Müller", "Wei Wang, Anna Müller", False),
        ("Anna Müller", "", None),
    ],
)
def test_first_authors(one: str, other: str, same: bool | None) -> None:
    assert same_first(one, other) is same
    assert same_first(other, one) is same


def test_names_are_separated() -> None:
    assert names("Björn Weiß, Olga Müller") == (("bjorn", "weiss"), ("olga", "muller"))
    assert names("Yao, Shunyu, Zhao, Jeffrey") == (("yao", "shunyu"), ("zhao", "jeffrey"))
    assert names("Smith, J., Wang, W. L.") == (("smith", "j"), ("wang", "w", "l"))


def test_share_of_common_authors() -> None:
    assert shared("A Smith, B Wang", "Smith A; Zhang B; Li C") == 0.5
    assert shared("", "A Smith") == 0.0
