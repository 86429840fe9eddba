/* The statistics of a selection: those of skills/corpus/stats.py, counted for what is shown. */

const Z = 1.959963984540054; // the 97.5% point of the normal distribution
const CATEGORIES = 12; // with a line of their own, as in stats.py
const BINS = 20;

/** So many of so many, with the 95% interval of Wilson (1927). */
function share(count, of) {
  if (!of) return { count, of, value: null, low: 0, high: 1 };
  const value = count / of;
  const centre = value + (Z * Z) / (2 * of);
  const half = Z * Math.sqrt((value * (1 - value)) / of + (Z * Z) / (4 * of * of));
  const scale = 1 + (Z * Z) / of;
  return {
    count,
    of,
    value,
    low: Math.max(0, (centre - half) / scale),
    high: Math.min(1, (centre + half) / scale),
  };
}

const mean = (values) => (values.length ? values.reduce((a, b) => a + b) / values.length : null);

/** One move over these papers. */
function moveNumbers(rows, index) {
  const stating = rows.filter((paper) => paper.moves[index] != null);
  const having = (kind) =>
    share(stating.filter((paper) => paper[kind][index]).length, stating.length);
  const known = (kind) =>
    stating.map((paper) => paper[kind][index]).filter((value) => value != null);
  return {
    label: moves[index].label,
    stated: share(stating.length, rows.length),
    support: mean(known("support")),
    copied: mean(known("copied")),
    numbers: having("numbers"),
    names: having("names"),
  };
}

/** How many moves have a support within each twentieth; the last one holds 100% too. */
function supportBins(rows) {
  const bins = new Array(BINS).fill(0);
  for (const paper of rows) {
    for (const support of paper.support) {
      if (support != null) bins[Math.min(BINS - 1, Math.floor(support * BINS + 1e-9))] += 1;
    }
  }
  return bins;
}

/** Papers by year, in order, and those without one last: [[name, papers], ...]. */
function byYear(rows) {
  const groups = groupedBy(rows, yearOf);
  const order = (a, b) => (a[0] === "unknown") - (b[0] === "unknown") || (a[0] < b[0] ? -1 : 1);
  return [...groups].sort(order);
}

const yearOf = (paper) => (paper.year == null ? "unknown" : String(paper.year).padStart(4, "0"));

/** Papers by their first category, the commonest first, then those of all others. */
function byCategory(rows) {
  const first = (paper) => paper.categories[0] ?? "";
  const groups = groupedBy(rows, first);
  const known = [...groups].filter(([name]) => name);
  known.sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
  const shown = known.length > CATEGORIES + 1 ? known.slice(0, CATEGORIES) : known;
  const others = known.slice(shown.length).flatMap(([, members]) => members);
  if (others.length) shown.push(["other", others]);
  if (groups.has("")) shown.push(["unknown", groups.get("")]);
  return shown;
}

function groupedBy(rows, keyOf) {
  const groups = new Map();
  for (const paper of rows) {
    const key = keyOf(paper);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(paper);
  }
  return groups;
}
