/* The data, as skills/corpus/page_data.py describes it, and what follows from it for each paper. */

const stored = (id) => JSON.parse(byId(id).textContent);
const page = stored("page");
const papers = stored("papers");
const failures = stored("failures");
const moves = page.framework.moves;

/** The kinds of findings. */
const FINDINGS = {
  numbers: "Numbers not in the abstract",
  names: "Names not in the abstract",
  support: `Support below ${percent(page.low_support)}`,
  duplicates: "Moves that say the same",
};

/** A move's text without its marks; null where it is not stated. */
const textOf = (paper, move) =>
  Array.isArray(paper.moves[move]) ? paper.moves[move].join("") : paper.moves[move];

/** The findings about one move: [{kind, short, long}]. */
function findings(paper, move) {
  const found = [];
  for (const kind of ["numbers", "names"]) {
    const texts = paper[kind][move];
    if (texts) {
      const long = `${FINDINGS[kind]}: ${texts.join(", ")}`;
      found.push({ kind, short: texts.join(", "), long });
    }
  }
  const support = paper.support[move];
  if (support != null && support < page.low_support) {
    const short = `support ${percent(support)}`;
    const long = `Low support: ${percent(support)} of its content words are in the abstract`;
    found.push({ kind: "support", short, long });
  }
  const same = paper.duplicates.filter((pair) => pair[0] === move || pair[1] === move);
  if (same.length) {
    const others = same.map(([one, other]) => moves[one === move ? other : one].label);
    const long = `Says the same as ${others.join(", ")}`;
    found.push({ kind: "duplicates", short: `as ${others.join(", ")}`, long });
  }
  return found;
}

function prepare() {
  const seen = new Map();
  const everything = moves.map((_, move) => move);
  papers.forEach((paper, position) => {
    const before = seen.get(paper.id) ?? 0;
    seen.set(paper.id, before + 1);
    paper.position = position;
    paper.key = before ? `${paper.id}~${before + 1}` : paper.id;
    paper.model = page.provenances[paper.shared].resolved ?? "unknown";
    const supports = paper.support.filter((support) => support != null);
    paper.mean = supports.length ? supports.reduce((a, b) => a + b) / supports.length : null;
    const kinds = everything.flatMap((move) => findings(paper, move).map((found) => found.kind));
    paper.flags = [...new Set(kinds)];
  });
}

prepare();
const paperOf = new Map(papers.map((paper) => [paper.key, paper]));
