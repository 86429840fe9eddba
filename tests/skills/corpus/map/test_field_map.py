"""The map of a planted corpus: its clusters, labels, gap and years."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from corpus_papers import corpus_of
from map_corpus import EACH, GAP, METHODS, SCOPES, mapped, planted
from repository import ROOT

from harness.errors import Interrupted, NothingFound
from skills.corpus.map.field_map import FieldMap, as_output, map_of, read_papers
from skills.corpus.map.map_views import summary
from skills.corpus.records import Annotated
from skills.nanda.framework import nanda


def map_(
    items: Sequence[Annotated], *moves: str, number: int | None = None, crossing: bool = True
) -> FieldMap:
    moves = moves or ("method", "scope")
    papers = read_papers(items, nanda(), moves)
    return map_of(papers, nanda(), moves, title="Map", crossing=crossing, number=number)


def test_planted_groups_are_found_and_labelled_by_their_own_terms() -> None:
    found = map_(planted())
    for grouping, words in zip(found.groupings, (METHODS, SCOPES), strict=True):
        assert len(grouping.clusters) == 3
        for cluster in grouping.clusters:
            titles = {found.papers[paper].title for paper in cluster.papers}
            [group] = {title.split()[0 if words is METHODS else 2] for title in titles}
            assert len(cluster.terms) == 4
            assert set(cluster.terms) <= set(words[group].split())


def test_the_pair_that_nobody_has_is_the_gap() -> None:
    matrix = map_(planted()).matrix
    assert matrix is not None
    assert matrix.papers == 48
    [gap] = matrix.gaps
    assert set(matrix.rows.clusters[gap.row].terms) < set(METHODS[GAP[0]].split())
    assert set(matrix.columns.clusters[gap.column].terms) < set(SCOPES[GAP[1]].split())
    assert gap.papers == ()
    assert gap.expected == pytest.approx(12 * 12 / 48)  # 3 papers
    others = [cell for line in matrix.cells[:3] for cell in line[:3] if not cell.is_gap]
    assert [len(cell.papers) for cell in others] == [EACH] * 8


def test_an_empty_cell_of_small_clusters_is_no_gap() -> None:
    items = [one for one in planted() if one.paper.title in ("survey of bees", "proof of ships")]
    items += [mapped(100 + i, "training", "vines") for i in range(3)]
    matrix = map_(items, number=3).matrix
    assert matrix is not None
    small = min(matrix.rows.clusters, key=lambda one: len(one.papers))
    row = matrix.cells[matrix.rows.clusters.index(small)][:3]
    empty = [cell for cell in row if not cell.papers]
    assert [cell.is_gap for cell in empty] == [False, False]
    assert matrix.by_chance < 1


def test_years_are_counted_by_cluster_and_unknown_ones_named() -> None:
    items = [*planted(), mapped(99, "proof", "bees", published="")]
    found = map_(items)
    assert found.years.names == ["2020", "2021", "2022", "2023"]
    assert [paper.id for paper in found.without_year] == ["2405.00099"]
    made = as_output(found).model_dump()
    assert made["without_year"] == ["2405.00099"]
    [proofs] = [one for one in made["moves"][0]["clusters"] if one["terms"][0] in METHODS["proof"]]
    assert sum(proofs["years"].values()) == len(proofs["papers"]) - 1 == 12
    assert "1 paper has no year." in summary(found)


def test_years_long_ago_share_the_first_column() -> None:
    items = [*planted(), mapped(98, "proof", "bees", published="1870")]
    names = map_(items).years.names
    assert (names[0], names[-1], len(names)) == ("\u22642004", "2023", 20)


def test_papers_in_no_cluster_and_unstated_moves_are_counted() -> None:
    items = [
        *planted(),
        mapped(97, "proof", "bees", method="Zymurgy."),
        mapped(96, "proof", "bees", method="Not stated."),
    ]
    found = map_(items)
    made = as_output(found).model_dump()["moves"][0]
    assert made["stated"] == 49
    assert made["in_no_cluster"] == ["2405.00097"]
    assert made["not_stated"] == ["2405.00096"]
    assert "(1 in no cluster, 1 without a method)" in summary(found)
    assert found.matrix is not None
    assert found.matrix.papers == 48


def test_the_same_corpus_gives_the_same_map_in_any_order() -> None:
    items = planted()
    first = as_output(map_(items)).model_dump_json()
    random.Random(3).shuffle(items)
    assert as_output(map_(items)).model_dump_json() == first


def test_threads_and_the_seed_of_hashes_do_not_change_the_files(tmp_path: Path) -> None:
    db = corpus_of(tmp_path / "corpus.db", planted())
    saved = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = {**os.environ, **dict.fromkeys(names, threads), "PYTHONHASHSEED": threads}
        env |= {"HARNESS_DATA": str(tmp_path), "HARNESS_CONFIG": str(tmp_path / "config")}
        folder = tmp_path / threads
        folder.mkdir()
        targets = [folder / f"map{suffix}" for suffix in (".html", ".svg", ".png", ".json")]
        more = " ".join(f"-o {target}" for target in targets)
        command = [sys.executable, str(ROOT / "agent.py"), f"/corpus map --db {db} {more}"]
        subprocess.run(command, env=env, check=True, capture_output=True, cwd=tmp_path)
        saved.append([target.read_bytes() for target in targets])
    assert saved[0] == saved[1]


def test_few_papers_have_few_clusters() -> None:
    """The silhouette alone would take four clusters of three papers."""
    items = [mapped(i, "proof", "bees") for i in range(12)]
    assert len(map_(items, "method", crossing=False).groupings[0].clusters) <= 2


def test_the_number_of_clusters_can_be_given() -> None:
    assert [len(one.clusters) for one in map_(planted(), number=2).groupings] == [2, 2]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (planted()[:9], "9 papers of 9 state a method: a map needs 10"),
        (
            [mapped(i, "proof", "bees", method="Not stated.") for i in range(12)],
            "0 papers of 12 state a method",
        ),
        (
            [mapped(i, "proof", "bees", method=f"{'abcdefghijklmno'[i] * 9}.") for i in range(12)],
            "the texts of the method have too few common terms",
        ),
        (
            [mapped(i, "proof", "bees", method="The very same text.") for i in range(12)],
            "the texts of the method have too few common terms",
        ),
    ],
)
def test_papers_that_make_no_map_are_refused(items: list[Annotated], message: str) -> None:
    with pytest.raises(NothingFound, match=message):
        map_(items)


def test_one_year_and_no_year_make_a_map() -> None:
    same = [
        mapped(i, *one.paper.title.split(" of "), published="2024")
        for i, one in enumerate(planted())
    ]
    assert map_(same).years.names == ["2024"]
    none = [
        mapped(i, *one.paper.title.split(" of "), published="") for i, one in enumerate(planted())
    ]
    assert map_(none).years.names == []


def test_scripts_without_blanks_and_with_vowel_signs_are_clustered() -> None:
    texts = (
        "\u6df1\u5c42\u795e\u7ecf\u7f51\u7edc\u8bad\u7ec3",  # training of deep neural networks
        "\u95ee\u5377\u8c03\u67e5\u4e0e\u8bbf\u8c08",  # questionnaires and interviews
        "\u092a\u094d\u0930\u092e\u0947\u092f \u0914\u0930 \u0939\u093f\u0928\u094d\u0926\u0940",
    )
    items = [mapped(i, "proof", "bees", method=texts[i % 3]) for i in range(30)]
    found = map_(items, "method", crossing=False)
    assert sorted(len(cluster.papers) for cluster in found.groupings[0].clusters) == [10, 10, 10]
    labels = " ".join(cluster.label for cluster in found.groupings[0].clusters)
    assert "\u795e\u7ecf" in labels
    assert "\u0939\u093f\u0928\u094d\u0926\u0940" in labels


def test_it_stops_between_two_numbers_of_clusters() -> None:
    calls = iter(range(4))
    papers = read_papers(planted(), nanda(), ("method",))

    def check() -> None:
        if next(calls, None) is None:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        map_of(papers, nanda(), ("method",), title="", crossing=False, check=check)
