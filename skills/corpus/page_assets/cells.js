/* What stands in the table, and how its rows are ordered. */

/** The columns: key, label, and for a move its index. */
function columns() {
  const shown = moves
    .map((move, index) => ({
      key: `move.${move.name}`,
      label: move.label,
      index,
      title: move.definition,
    }))
    .filter((column) => state.columns.includes(moves[column.index].name));
  return [
    { key: "title", label: "Paper" },
    { key: "year", label: "Year" },
    ...shown,
    {
      key: "support",
      label: "Support",
      title: "Mean over the moves: the share of a move's content words that the abstract holds",
    },
  ];
}

/** A move's text; what the abstract does not bear out is marked in it. */
function moveText(paper, index) {
  const text = paper.moves[index];
  if (!Array.isArray(text)) return [text];
  return text.map((piece, i) => (i % 2 ? h("span", { class: "unsupported" }, piece) : piece));
}

function moveCell(paper, index) {
  if (paper.moves[index] == null)
    return [h("div", { class: "text absent" }, page.framework.not_stated)];
  const text = h("div", { class: "text", dir: "auto" }, moveText(paper, index));
  const found = findings(paper, index);
  if (!found.length) return [text];
  const long = found.map((finding) => finding.long).join(". ");
  const short = found.map((finding) => finding.short).join(" · ");
  const flag = h(
    "div",
    { class: "flag", title: long },
    unseen(`${long}.`),
    h("span", { "aria-hidden": "true", dir: "auto" }, short),
  );
  return [text, flag];
}

function titleCell(paper) {
  const title = h("div", { class: "title", dir: "auto" }, paper.title || "Without title");
  const about = [idLink(paper, { tabindex: -1 })];
  if (paper.year != null) about.push(h("span", { class: "when" }, String(paper.year)));
  if (paper.authors) about.push(h("span", { dir: "auto" }, paper.authors));
  return [title, h("div", { class: "about" }, about)];
}

function cellOf(paper, column) {
  if (column.index !== undefined) return moveCell(paper, column.index);
  if (column.key === "title") return titleCell(paper);
  return [column.key === "year" ? String(paper.year ?? "") : percent(paper.mean)];
}

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** The value that a column is sorted by; null and "" go last, whichever way it is sorted. */
function sortValue(key) {
  if (key === "support") return (paper) => paper.mean;
  if (key === "year") return (paper) => paper.published || paper.year;
  if (key === "title") return (paper) => paper.title;
  const index = moves.findIndex((move) => `move.${move.name}` === key);
  return (paper) => textOf(paper, index);
}

function sorted(found) {
  if (!state.sort) return found;
  const reversed = state.sort.startsWith("-");
  const value = sortValue(state.sort.replace(/^-/, ""));
  const keyed = found.map((paper) => [value(paper), paper]);
  const missing = ([key]) => key == null || key === "";
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
  const there = keyed.filter((pair) => !missing(pair));
  there.sort((a, b) => (reversed ? compare(b[0], a[0]) : compare(a[0], b[0])));
  return [...there, ...keyed.filter(missing)].map(([, paper]) => paper);
}
