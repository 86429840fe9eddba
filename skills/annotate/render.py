"""An annotation as a file: the stored object (.json), or a page to read (.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from skills.nanda.arxiv_id import page_address
from skills.nanda.framework import Framework
from skills.nanda.markdown import escape as escape

Record = Mapping[str, Any]


def as_json(record: Record) -> str:
    """The stored object, indented."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def moves_as_json(record: Record, framework: Framework) -> str:
    """The moves alone, in order, as one JSON object."""
    moves = {name: record[name] for name in framework.names}
    return json.dumps(moves, indent=2, ensure_ascii=False)


def as_markdown(record: Record, framework: Framework) -> str:
    """A page: title, table of moves, checks, provenance."""
    blocks = (
        f"# {escape(record['title']) or 'Annotation'}",
        _paper_line(record),
        _moves_table(record, framework),
        "## Checks",
        _findings(record["checks"], framework),
        _moves_checks(record["checks"], framework),
        "## Provenance",
        _provenance(record["provenance"]),
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def warning(record: Record) -> str:
    """One line about findings that a reader should not miss, or ""."""
    checks = record["checks"]
    found = [
        f"{count} {what}{'' if count == 1 else 's'}"
        for what in ("number", "name")
        if (count := sum(map(len, checks[f"unsupported_{what}s"].values())))
    ]
    parts = [f"{' and '.join(found)} not found in the abstract"] if found else []
    for group in _groups(checks["duplicate_moves"]):
        parts.append(f"{', '.join(key for key in record if key in group)} say the same")
    return f"check: {'; '.join(parts)}" if parts else ""


def _paper_line(record: Record) -> str:
    if "arxiv_id" in record:
        shown, address = escape(record["arxiv_id"]), page_address(record["arxiv_id"])
        return f"arXiv: [{shown}]({address})" if address else f"arXiv: {shown}"
    return f"Paper: {escape(str(record.get('paper_id') or record['id']))}"


def _moves_table(record: Record, framework: Framework) -> str:
    rows = ((move.label, escape(record[move.name])) for move in framework.moves)
    return _table(("Move", "What the abstract says"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _findings(checks: Record, framework: Framework) -> str:
    """What was looked for over all moves, in sentences."""
    labels = {move.name: move.label for move in framework.moves}
    lines = []
    for what in ("numbers", "names"):
        found = checks[f"unsupported_{what}"]
        told = "; ".join(f"{labels[m]}: {', '.join(map(escape, t))}" for m, t in found.items())
        if told:
            lines.append(f"- **{what.capitalize()} that the abstract does not hold:** {told}.")
        else:
            lines.append(f"- All {what} of the moves stand in the abstract.")
    groups = _groups(checks["duplicate_moves"])
    told = "; ".join(", ".join(labels[m] for m in framework.names if m in g) for g in groups)
    lines.append(
        f"- **Moves that say the same:** {told}." if told else "- No two moves say the same."
    )
    return "\n".join(lines)


def _groups(pairs: Iterable[Sequence[Any]]) -> list[set[str]]:
    """Pairs that share a move, put together."""
    groups: list[set[str]] = []
    for one, other, _ in pairs:
        touched = [group for group in groups if one in group or other in group]
        groups = [group for group in groups if group not in touched]
        groups.append({one, other}.union(*touched))
    return groups


def _moves_checks(checks: Record, framework: Framework) -> str:
    """Support, copying and source, one row for each move that is stated."""
    rows = (
        (
            move.label,
            _percent(checks["support"][move.name]),
            _percent(checks["copied"][move.name]),
            f"{checks['source'][move.name]['index'] + 1}. "
            + escape(checks["source"][move.name]["text"]),
        )
        for move in framework.moves
        if move.name in checks["support"]
    )
    head = ("Move", "Words in the abstract", "Copied word for word", "Nearest sentence")
    return _table(head, rows) if checks["support"] else "The abstract states none of the moves."


def _provenance(provenance: Record) -> str:
    served = f"{escape(provenance['backend'])}, {escape(provenance['where'])}"
    lines = [f"- Model: {escape(provenance['resolved'])} ({served})"]
    if provenance["reason"]:
        lines.append(
            f"- Asked for {escape(provenance['requested'])}, which could not be served "
            f"({escape(provenance['reason'])}); {escape(provenance['resolved'])} answered instead."
        )
    framework, sampling, tokens = (provenance[key] for key in ("framework", "sampling", "tokens"))
    attempts = provenance["attempts"]
    lines += [
        f"- Framework: {framework['name']}, version {escape(framework['version'])}",
        f"- Sampling: temperature {sampling['temperature']:g}, seed {sampling['seed']}",
        f"- Work: {attempts} {'answer' if attempts == 1 else 'answers'}, "
        f"{tokens['prompt']} prompt tokens, {tokens['completion']} completion tokens, "
        f"{provenance['seconds']:.1f} s",
        f"- Made: {provenance['created']} by nanda-harness {provenance['harness']}",
        f"- Input: {_input(provenance['input'])}",
    ]
    lines += [f"- sha256 of {escape(k)}: `{v}`" for k, v in provenance["digests"].items()]
    return "\n".join(lines)


def _input(source: Record) -> str:
    name = source.get("path") or source.get("arxiv_id") or ""
    return f"{source['kind']} {escape(name)}".rstrip() + f", sha256 `{source['sha256']}`"


def _percent(share: float) -> str:
    return f"{share:.0%}"
