/* The papers: search, facets, order, a table in pages, and one paper in detail. The papers are
   templates in the page, which are copied to be shown. What is chosen is kept in the address. */

const TABS = ["papers", "statistics", "failures"];
const SIZE = 50; // rows of a page
const PRINTED = 1000; // rows on paper, at most
const LONG = 10; // values of a facet that are shown without unfolding

const grid = document.querySelector("[role=grid]");
const moves = [...byId("columns").querySelectorAll("input")].map(({ value, dataset }) => ({
  name: value,
  label: dataset.label,
}));
const papers = [...document.querySelectorAll("template.paper")].map(({ dataset, content }) => {
  const entries = [...content.querySelector(".entries").children];
  return { ...dataset, content, entries };
});
const byKey = new Map();
const papersIn = (count) => `${grouped(count)} paper${count === 1 ? "" : "s"}`;
const isStated = (paper, index) => paper.entries[index].className !== "absent";
const textOf = (paper, index) =>
  isStated(paper, index) ? paper.entries[index].querySelector(".text").textContent : "";

/** Create an element. Attributes that are functions are listeners; children may be text. */
function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat());
  return made;
}
const button = (attributes, ...children) => h("button", { type: "button", ...attributes }, ...children);

/* Facets */

const facets = [
  { key: "year", name: "Year", of: (paper) => [paper.year || "unknown"] },
  { key: "category", name: "Category", of: (paper) => paper.categories.split("; ") },
  { key: "findings", name: "Findings", of: kindsOf },
  { key: "model", name: "Model", of: (paper) => [paper.model] },
  ...moves.map(({ name, label }, index) => ({
    key: `move.${name}`,
    name: label,
    values: ["stated", "not stated"],
    of: (paper) => [isStated(paper, index) ? "stated" : "not stated"],
  })),
];

function kindsOf(paper) {
  const kinds = new Set([...paper.content.querySelectorAll(".flag")].map((flag) => flag.dataset.kind));
  return kinds.size ? [...kinds] : ["No findings"];
}

function prepare() {
  for (const paper of papers) {
    paper.key = paper.id;
    for (let copy = 2; byKey.has(paper.key); copy += 1) paper.key = `${paper.id}~${copy}`;
    byKey.set(paper.key, paper);
    paper.facets = facets.map((facet) => facet.of(paper));
  }
  facets.forEach((facet, f) => {
    const sizes = new Map();
    for (const value of papers.flatMap((paper) => paper.facets[f]))
      sizes.set(value, (sizes.get(value) ?? 0) + 1);
    const order = facet.key === "year" ? () => 0 : (a, b) => sizes.get(b) - sizes.get(a);
    facet.values ??= [...sizes.keys()].sort().reverse().sort(order);
  });
}

function buildFacets() {
  for (const facet of facets) {
    facet.boxes = facet.values.map((value) => {
      const name = `${facet.name}: ${value}`;
      const onchange = () => toggle(facet, value);
      const input = h("input", { type: "checkbox", "aria-label": name, onchange });
      const count = h("span", { class: "count" });
      return { input, count, label: h("label", {}, input, h("span", { dir: "auto" }, value), count) };
    });
    const labels = facet.boxes.map(({ label }) => label);
    const more = labels.splice(LONG);
    if (more.length) labels.push(h("details", {}, h("summary", {}, `${grouped(more.length)} more`), more));
    const kind = facet.key.split(".")[0];
    byId("facets").append(h("fieldset", { class: kind }, h("legend", {}, facet.name), labels));
  }
}

function showFacets(counts) {
  const chips = [];
  facets.forEach((facet, f) =>
    facet.boxes.forEach(({ input, count, label }, i) => {
      const value = facet.values[i];
      input.checked = state.chosen[facet.key]?.includes(value) ?? false;
      count.textContent = grouped(counts[f].get(value) ?? 0);
      label.classList.toggle("nothing", !counts[f].has(value));
      const name = `${facet.name}: ${value}`;
      const onclick = () => toggle(facet, value);
      if (input.checked)
        chips.push(button({ class: "chip", "aria-label": `Remove ${name}`, onclick }, `${name} ×`));
    }),
  );
  const onclick = () => update({ query: "", chosen: {} });
  if (chips.length || state.query) chips.push(button({ class: "link", onclick }, "Show all"));
  byId("chips").replaceChildren(...chips);
}

/* State, and the address */

const usual = {
  tab: "papers",
  query: "",
  sort: "", // a column, after "-" in descending order; "": the order of the file
  page: "1",
  columns: moves.map(({ name }) => name).join(" "),
  paper: "", // key of the open paper
  move: "", // name of the move whose source is marked
};
const valid = {
  tab: (value) => TABS.includes(value),
  sort: (value) => columns().some(({ key }) => key === value.replace(/^-/, "")),
  page: (value) => /^[1-9]\d*$/.test(value),
  paper: (value) => byKey.has(value),
  move: (value) => moves.some(({ name }) => name === value),
};
let state = { ...usual, chosen: {} };

function readAddress() {
  const pairs = new URLSearchParams(location.hash.slice(1));
  state = { ...usual, chosen: {} };
  for (const [name, value] of pairs)
    if (name in usual && (valid[name]?.(value) ?? true)) state[name] = value;
  for (const { key, values } of facets) {
    const known = pairs.getAll(key).filter((value) => values.includes(value));
    if (known.length) state.chosen[key] = known;
  }
}

/** Change the state, the address and what is shown. */
function update(changes) {
  const first = "query" in changes || "chosen" in changes || "sort" in changes ? { page: "1" } : {};
  state = { ...state, ...first, ...changes };
  const pairs = new URLSearchParams();
  for (const name of Object.keys(usual))
    if (state[name] !== usual[name]) pairs.set(name, state[name]);
  for (const { key } of facets)
    for (const value of state.chosen[key] ?? []) pairs.append(key, value);
  history.replaceState(null, "", `${location.href.split("#")[0]}${pairs.size ? `#${pairs}` : ""}`);
  render();
}

function toggle({ key }, value) {
  const now = state.chosen[key] ?? [];
  const values = now.includes(value) ? now.filter((other) => other !== value) : [...now, value];
  update({ chosen: { ...state.chosen, [key]: values } });
}

/* Search and order */

/** Return lower case text without accents, in which all but letters and digits is one blank. */
function fold(text) {
  const bare = text.normalize("NFKD").replace(/\p{M}+/gu, "");
  return bare.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ");
}

function searched(paper) {
  const parts = paper.content.querySelectorAll(".id, .title, .authors, .sentence, .text");
  // The separator keeps a phrase from crossing texts.
  paper.searched ??= ` ${[...parts].map((part) => fold(part.textContent)).join(" \n ")} `;
  return paper.searched;
}

/** Return the texts that a query looks for: each begins a word, and a quoted one ends one too. */
function needles(query) {
  const found = [];
  for (const [, phrase, closed, word] of query.matchAll(/"([^"]*)("?)|([^\s"]+)/g)) {
    const folded = fold(phrase ?? word).trim();
    const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;
    if (unspaced.test(folded)) found.push(folded);
    else if (folded) found.push(` ${folded}${closed ? " " : ""}`);
  }
  return found;
}

/** Return the papers that match. A count is the number of papers that a value of a facet would
    leave, with the other facets as they are. */
function select() {
  const wanted = needles(state.query);
  const counts = facets.map(() => new Map());
  const found = papers.filter((paper) => {
    if (!wanted.every((needle) => searched(paper).includes(needle))) return false;
    const failing = [...facets.keys()].filter((f) => {
      const chosen = state.chosen[facets[f].key] ?? [];
      return chosen.length && !paper.facets[f].some((value) => chosen.includes(value));
    });
    if (failing.length > 1) return false;
    for (const f of failing.length ? failing : facets.keys())
      for (const value of paper.facets[f]) counts[f].set(value, (counts[f].get(value) ?? 0) + 1);
    return !failing.length;
  });
  return { found, counts };
}

/** Sort papers by the column of the state; papers without a value come last in either order. */
function sorted(found) {
  if (!state.sort) return found;
  const { compare } = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const { value } = columns().find(({ key }) => key === state.sort.replace(/^-/, ""));
  const sign = state.sort.startsWith("-") ? -1 : 1;
  const keyed = found.map((paper) => [value(paper), paper]);
  keyed.sort(([a], [b]) => (a && b ? sign * compare(a, b) : !a - !b));
  return keyed.map(([, paper]) => paper);
}

/* The table: one cell is in the order of tabs, and the arrow keys move from it. */

let rows = papers;
let active = [0, 0]; // row among all rows, column
let printing = false;

function columns() {
  const shown = moves.map(({ name, label }, index) => ({
    key: `move.${name}`,
    label,
    index,
    value: (paper) => textOf(paper, index),
    parts: ".text, .flag",
  }));
  return [
    { key: "title", label: "Paper", value: (paper) => paper.title, parts: ".title, .id, .authors" },
    { key: "year", label: "Year", value: (paper) => paper.published || paper.year },
    ...shown.filter(({ index }) => state.columns.split(" ").includes(moves[index].name)),
    { key: "support", label: "Support", value: (paper) => paper.mean },
  ];
}

function showTable() {
  const pages = Math.max(1, Math.ceil(rows.length / SIZE));
  const page = Math.min(Number(state.page), pages);
  const from = printing ? 0 : (page - 1) * SIZE;
  const shown = rows.slice(from, from + (printing ? PRINTED : SIZE));
  const within = (value, low, high) => Math.max(low, Math.min(value, high));
  active = [within(active[0], from, from + shown.length - 1), within(active[1], 0, columns().length - 1)];
  grid.hidden = !rows.length;
  grid.setAttribute("aria-rowcount", rows.length + 1);
  grid.tHead.rows[0].replaceChildren(...columns().map(headCell));
  grid.tBodies[0].replaceChildren(...shown.map((paper, i) => rowOf(paper, from + i)));
  const turn = (to, label) => {
    const off = to < 1 || to > pages ? "" : null;
    return button({ disabled: off, onclick: () => update({ page: String(to) }) }, label);
  };
  const place = `${grouped(from + 1)} to ${grouped(from + shown.length)} of ${grouped(rows.length)}`;
  const turns = [turn(page - 1, "Previous"), ` ${place} `, turn(page + 1, "Next")];
  byId("pager").replaceChildren(...(rows.length ? turns : ["No paper matches."]));
}

function headCell({ key, label }, position) {
  const order =
    state.sort === key ? "ascending" : state.sort === `-${key}` ? "descending" : "none";
  const onclick = () => {
    update({ sort: { none: key, ascending: `-${key}`, descending: "" }[order] });
    grid.tHead.rows[0].cells[position].firstChild.focus();
  };
  const given = { role: "columnheader", scope: "col", class: key.split(".")[0], "aria-sort": order };
  return h("th", given, button({ onclick }, label));
}

function rowOf(paper, row) {
  const cells = columns().map(({ key, label, index, value, parts }, position) => {
    const from = index === undefined ? paper.content : paper.entries[index];
    const copies = parts && [...from.querySelectorAll(parts)].map((part) => part.cloneNode(true));
    const year = key === "year" ? paper.year : paper.support;
    const chosen = paper.key === state.paper && index !== undefined && moves[index].name === state.move;
    const given = {
      role: "gridcell",
      class: `${key.split(".")[0]} ${index === undefined ? "" : from.className} ${chosen ? "chosen" : ""}`,
      tabindex: row === active[0] && position === active[1] ? 0 : -1,
      "data-label": label,
      onclick: (event) => event.target.closest("a") || String(getSelection()) || open(row, position),
      onfocus: () => (active = [row, position]),
    };
    return h("td", given, copies ?? year);
  });
  const selected = String(paper.key === state.paper);
  return h("tr", { role: "row", "data-row": row, "aria-rowindex": row + 2, "aria-selected": selected }, cells);
}

/** Show a paper in detail, with the source of the move of a column marked. */
function open(row, position) {
  active = [row, position];
  const index = columns()[position].index;
  const move = index !== undefined && isStated(rows[row], index) ? moves[index].name : "";
  update({ paper: rows[row].key, move, page: String(Math.floor(row / SIZE) + 1) });
  focusActive();
}

function focusActive() {
  const cell = grid.querySelector(`[data-row="${active[0]}"]`)?.cells[active[1]];
  cell?.focus({ preventScroll: true });
  cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function onTableKey(event) {
  if (event.target.tagName !== "TD" || event.ctrlKey || event.metaKey || event.altKey) return;
  const [down, right] = {
    ArrowDown: [1, 0],
    ArrowUp: [-1, 0],
    ArrowRight: [0, 1],
    ArrowLeft: [0, -1],
    PageDown: [10, 0],
    PageUp: [-10, 0],
    Home: [0, -Infinity],
    End: [0, Infinity],
    Enter: [0, 0],
    " ": [0, 0],
  }[event.key] ?? [];
  if (down === undefined) return;
  event.preventDefault();
  const row = Math.max(0, Math.min(active[0] + down, rows.length - 1));
  const column = Math.max(0, Math.min(active[1] + right, columns().length - 1));
  if (state.paper || (!down && !right)) open(row, column);
  else {
    active = [row, column];
    update({ page: String(Math.floor(row / SIZE) + 1) });
    focusActive();
  }
}

/* One paper */

function showDetail() {
  const paper = byKey.get(state.paper);
  byId("detail").hidden = !paper || state.tab !== "papers";
  if (!paper) return;
  const body = byId("detail").querySelector("article");
  if (body.dataset.key !== paper.key) {
    body.dataset.key = paper.key;
    body.replaceChildren(paper.content.cloneNode(true));
    body.querySelector(".facts").append(byId(`provenance-${paper.shared}`).content.cloneNode(true));
  }
  const place = rows.indexOf(paper);
  byId("place").textContent =
    place < 0 ? "not in the selection" : `${grouped(place + 1)} of ${grouped(rows.length)}`;
  byId("previous").disabled = place < 1;
  byId("next").disabled = place < 0 || place === rows.length - 1;
  markSource(body, body.querySelector(`[data-move="${state.move}"]`));
}

function closeDetail() {
  update({ paper: "", move: "" });
  focusActive();
}

function onDetailClick({ target }) {
  const move = target.closest("[data-move]")?.dataset.move;
  if (move) update({ move: move === state.move ? "" : move });
  const by = { previous: -1, next: 1 }[target.id];
  if (by) {
    open(rows.indexOf(byKey.get(state.paper)) + by, active[1]);
    target.focus();
  }
  if (target.id === "close") closeDetail();
}

/* The page */

let selection = ""; // what `rows` was made of

function render() {
  document.body.dataset.tab = state.tab;
  for (const tab of TABS) {
    byId(`${tab}-view`).hidden = tab !== state.tab;
    byId(`${tab}-tab`).setAttribute("aria-selected", String(tab === state.tab));
    byId(`${tab}-tab`).tabIndex = tab === state.tab ? 0 : -1;
  }
  if (byId("query").value !== state.query) byId("query").value = state.query;
  for (const box of byId("columns").querySelectorAll("input"))
    box.checked = state.columns.split(" ").includes(box.value);
  const wanted = JSON.stringify([state.query, state.chosen, state.sort]);
  if (wanted !== selection) {
    selection = wanted;
    const { found, counts } = select();
    rows = sorted(found);
    showFacets(counts);
    const some = rows.length < papers.length ? `${grouped(rows.length)} of ` : "";
    byId("count").textContent = `${some}${papersIn(papers.length)}`;
  }
  showTable();
  showDetail();
}

function onKey(event) {
  if (event.key === "Escape" && state.paper) closeDetail();
  if (event.key === "/" && event.target.tagName !== "INPUT") {
    event.preventDefault();
    byId("query").focus();
  }
  const by = event.target.role === "tab" && { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  update({ tab: TABS.at((TABS.indexOf(state.tab) + by) % TABS.length) });
  byId(`${state.tab}-tab`).focus();
}

function print(now) {
  printing = now;
  showTable();
}

prepare();
buildFacets();
byId("facets").open = matchMedia("(min-width: 64rem)").matches;
byId("query").addEventListener("input", () => update({ query: byId("query").value }));
byId("columns").addEventListener("change", () => {
  const checked = [...byId("columns").querySelectorAll(":checked")];
  update({ columns: checked.map(({ value }) => value).join(" ") });
});
for (const tab of TABS) byId(`${tab}-tab`).addEventListener("click", () => update({ tab }));
byId("detail").addEventListener("click", onDetailClick);
grid.tBodies[0].addEventListener("keydown", onTableKey);
document.addEventListener("keydown", onKey);
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
addEventListener("hashchange", () => {
  readAddress();
  render();
});
readAddress();
if (papers.length === 1 && !location.hash) state.paper = papers[0].key;
render();
