/* Facets: one value of a facet or another, and all facets together. */

const STATED = "stated";
const NOT_STATED = "not stated";
const NONE = "none";

/** A facet: its key in the address, its name, what a paper has of it, and how values are called. */
const facets = [
  { key: "year", name: "Year", of: (paper) => [String(paper.year ?? "unknown")] },
  {
    key: "category",
    name: "Category",
    of: (paper) => (paper.categories.length ? [...new Set(paper.categories)] : ["unknown"]),
  },
  {
    key: "findings",
    name: "Findings",
    of: (paper) => (paper.flags.length ? paper.flags : [NONE]),
    label: (value) => FINDINGS[value] ?? "No findings",
  },
  { key: "model", name: "Model", of: (paper) => [paper.model] },
  ...moves.map((move, index) => ({
    key: `move.${move.name}`,
    name: move.label,
    move: index,
    of: (paper) => [paper.moves[index] == null ? NOT_STATED : STATED],
  })),
];

/** Give each facet its values, and each paper the indices of its own: `paper.values[facet]`. */
function collectValues() {
  for (const paper of papers) paper.values = [];
  for (const facet of facets) {
    facet.label ??= (value) => value;
    const sizes = new Map();
    for (const paper of papers) {
      for (const value of facet.of(paper)) sizes.set(value, (sizes.get(value) ?? 0) + 1);
    }
    facet.values = inOrder(facet, sizes);
    const index = new Map(facet.values.map((value, i) => [value, i]));
    for (const paper of papers) paper.values.push(facet.of(paper).map((value) => index.get(value)));
  }
}

function inOrder(facet, sizes) {
  if (facet.move !== undefined) return [STATED, NOT_STATED];
  if (facet.key === "findings") return [...Object.keys(FINDINGS), NONE].filter((v) => sizes.has(v));
  const values = [...sizes.keys()];
  if (facet.key === "year") return values.sort().reverse();
  return values.sort((a, b) => sizes.get(b) - sizes.get(a) || (a < b ? -1 : 1));
}

/**
 * The papers that a query and the chosen values let through, in the order of the file. The count
 * of a value is of the papers that there would be with the other facets as they are.
 *
 * @param chosen for each facet null, or a list that holds true for the indices of chosen values.
 * @returns {found: papers, counts: for each facet the number of papers by value}
 */
function select(query, chosen) {
  const asked = needles(query);
  const counts = facets.map((facet) => new Array(facet.values.length).fill(0));
  const found = [];
  for (const paper of papers) {
    if (!asked.every((needle) => haystack(paper).includes(needle))) continue;
    const against = [];
    for (let f = 0; f < facets.length && against.length < 2; f += 1) {
      if (chosen[f] && !paper.values[f].some((value) => chosen[f][value])) against.push(f);
    }
    if (against.length === 0) found.push(paper);
    if (against.length === 1)
      for (const value of paper.values[against[0]]) counts[against[0]][value] += 1;
  }
  for (const paper of found) {
    paper.values.forEach((values, f) => {
      for (const value of values) counts[f][value] += 1;
    });
  }
  return { found, counts };
}

collectValues();
