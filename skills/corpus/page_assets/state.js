/* What a reader has chosen, and how it stands in the address, so that a view can be shared. */

const TABS = ["papers", "statistics", "failures"];

/** The move whose being stated is the least certain: the one to look at first. */
const telling = (() => {
  const far = (index) => {
    const count = papers.filter((paper) => paper.moves[index] != null).length;
    return Math.abs(count / Math.max(papers.length, 1) - 0.5);
  };
  const order = moves.map((_, index) => [far(index), index]).sort((a, b) => a[0] - b[0]);
  return moves[order[0][1]].name;
})();

const fresh = () => ({
  tab: "papers",
  query: "",
  chosen: {}, // facet key: [value, ...]
  sort: "", // column key, with "-" before it where the order is reversed; "": the file's order
  columns: moves.map((move) => move.name),
  paper: "", // key of the paper that is open
  move: "", // name of the move whose source is marked
  subject: telling, // name of the move that the statistics are about
  by: "year",
});
let state = fresh();

/** Names of what the state holds as plain text. */
const PLAIN = ["tab", "query", "sort", "paper", "move", "subject", "by"];

function toHash() {
  const usual = fresh();
  const pairs = new URLSearchParams();
  for (const name of PLAIN) if (state[name] !== usual[name]) pairs.set(name, state[name]);
  for (const facet of facets) {
    for (const value of state.chosen[facet.key] ?? []) pairs.append(facet.key, value);
  }
  if (state.columns.length < moves.length) pairs.set("columns", state.columns.join(" "));
  return pairs.toString();
}

function fromHash(hash) {
  const pairs = new URLSearchParams(hash.replace(/^#/, ""));
  const read = fresh();
  for (const name of PLAIN) read[name] = pairs.get(name) ?? read[name];
  for (const facet of facets) {
    const values = pairs.getAll(facet.key).filter((value) => facet.values.includes(value));
    if (values.length) read.chosen[facet.key] = values;
  }
  if (pairs.has("columns")) {
    const named = pairs.get("columns").split(" ");
    read.columns = read.columns.filter((name) => named.includes(name));
  }
  return valid(read);
}

/** Without what this page does not have: the address may come from another one, or from anybody. */
function valid(read) {
  const usual = fresh();
  const names = usual.columns;
  const check = (name, holds) => {
    if (!holds) read[name] = usual[name];
  };
  check("tab", TABS.includes(read.tab));
  const sortable = ["", "title", "year", "support", ...names.map((name) => `move.${name}`)];
  check("sort", sortable.includes(read.sort.replace(/^-/, "")));
  check("paper", paperOf.has(read.paper));
  check("move", names.includes(read.move));
  check("subject", names.includes(read.subject));
  check("by", ["year", "category"].includes(read.by));
  return read;
}

/** Change what is chosen, show it, and write it to the address. */
function update(changes) {
  state = { ...state, ...changes };
  const hash = toHash();
  history.replaceState(null, "", hash ? `#${hash}` : location.href.split("#")[0]);
  render();
}

/** Choose a facet's value, or take the choice back. */
function toggle(facet, value) {
  const now = state.chosen[facet.key] ?? [];
  const values = now.includes(value) ? now.filter((v) => v !== value) : [...now, value];
  update({ chosen: { ...state.chosen, [facet.key]: values } });
}

/** The chosen values as `select` takes them. */
function chosenValues() {
  return facets.map((facet) => {
    const values = state.chosen[facet.key];
    return values?.length ? facet.values.map((value) => values.includes(value)) : null;
  });
}
