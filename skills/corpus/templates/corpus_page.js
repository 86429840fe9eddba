/* Search, facets, sorting, a table in pages, and a detail view of one paper. Each paper is a
   <details> element of the page, whose content the detail view copies; without JavaScript, users
   open these elements. The state of the page is stored in the fragment of its URL. */

const TABS = ["papers", "statistics", "failures"];
const SIZE = 50; // rows of a page
const PRINTED = 1000; // maximum number of rows when the page is printed

const grid = byId("grid");
const view = byId("papers-view");
const facets = [...document.querySelectorAll("fieldset")].map(({ name: key, elements }) => {
  const boxes = [...elements].filter(({ type }) => type === "checkbox");
  return { key, boxes, values: boxes.map(({ value }) => value) };
});
const moves = facets.map(({ key }) => key).filter((key) => key.startsWith("move."));
/** The columns: the key, the header, and the index of the move, or -1 for another column. */
const columns = [...grid.tHead.rows[0].cells].map((header) => {
  const { key } = header.dataset;
  return { key, header, index: moves.indexOf(key) };
});
const FIELDS = { title: "title", year: "published" };
const PARTS = { title: ".title, .id, .authors", year: ".year" };

const byKey = new Map();
const papers = [...document.querySelectorAll("details.paper")].map((content) => {
  const { dataset } = content;
  const entries = [...content.querySelector(".entries").children];
  const paper = { ...dataset, key: dataset.id, content, entries, facets: JSON.parse(dataset.facets) };
  for (let copy = 2; byKey.has(paper.key); copy += 1) paper.key = `${paper.id}~${copy}`;
  byKey.set(paper.key, paper);
  return paper;
});

const between = (low, value, high) => Math.max(low, Math.min(value, high));

/* The state, which is stored in the URL. All values are strings; "; " joins the values of a list. */

const usual = {
  tab: "papers",
  query: "",
  sort: "", // the key of a column, with "-" before it for descending order; "" for the order of the file
  page: "1",
  hide: "", // keys of columns that are not shown
  paper: "", // key of the open paper
  move: "", // key of the move whose source is marked
  ...Object.fromEntries(facets.map(({ key }) => [key, ""])),
};
const KEPT = ["tab", "page", "paper", "move", "hide"]; // fields that do not affect the selected rows
let state = usual;
const chosen = ({ key }) => (state[key] ? state[key].split("; ") : []);

function isValid(name, value) {
  const facet = facets.find(({ key }) => key === name);
  if (facet) return value.split("; ").every((one) => facet.values.includes(one));
  const known = {
    tab: TABS,
    sort: columns.flatMap(({ key }) => [key, `-${key}`]),
    paper: [...byKey.keys()],
  };
  return name in usual && (known[name]?.includes(value) ?? true);
}

function readAddress() {
  const pairs = [...new URLSearchParams(location.hash.slice(1))];
  state = { ...usual, ...Object.fromEntries(pairs.filter((pair) => isValid(...pair))) };
}

/** Change the state, and update the URL and the page. */
function update(changes) {
  const first = Object.keys(changes).every((name) => KEPT.includes(name)) ? {} : { page: "1" };
  state = { ...state, ...first, ...changes };
  const changed = Object.entries(state).filter(([name, value]) => value !== usual[name]);
  history.replaceState(null, "", `#${new URLSearchParams(changed)}`);
  render();
}

/** Add a value to a list in the state, or remove it. */
function toggle(name, value) {
  const values = new Set(chosen({ key: name }));
  if (!values.delete(value)) values.add(value);
  update({ [name]: [...values].join("; ") });
}

/* Search and sorting */

/** Return a text in lower case without accents; other characters than letters and digits become blanks. */
function fold(text) {
  const bare = text.normalize("NFKD").replace(/\p{M}+/gu, "");
  return bare.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ");
}

function searched(paper) {
  const parts = paper.content.querySelectorAll(".id, .title, .authors, .sentence, .text");
  // A phrase must not match across two texts.
  paper.searched ??= ` ${[...parts].map((part) => fold(part.textContent)).join(" \n ")} `;
  return paper.searched;
}

/** Return the strings to search for. Each string matches at the beginning of a word, and a quoted string
    also ends at the end of a word. In scripts without blanks, a string matches anywhere. */
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

/** Return the matching papers, and the counts of each facet: for each value, the number of papers
    that match the query and the other facets. */
function select() {
  const wanted = needles(state.query);
  const choices = facets.map(chosen);
  const counts = facets.map(() => new Map());
  const found = papers.filter((paper) => {
    if (!wanted.every((needle) => searched(paper).includes(needle))) return false;
    const failing = [...facets.keys()].filter((f) => {
      const values = paper.facets[facets[f].key];
      return choices[f].length && !values.some((value) => choices[f].includes(value));
    });
    if (failing.length > 1) return false;
    for (const f of failing.length ? failing : facets.keys())
      for (const value of paper.facets[facets[f].key])
        counts[f].set(value, (counts[f].get(value) ?? 0) + 1);
    return !failing.length;
  });
  return { found, counts };
}

/** Sort papers by the selected column; papers without a value come last in both directions. */
function sorted(found) {
  if (!state.sort) return found;
  const { compare } = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const column = state.sort.replace(/^-/, "");
  const index = moves.indexOf(column);
  const value = (paper) =>
    index < 0 ? paper[FIELDS[column]] : paper.entries[index].querySelector("button .text")?.textContent;
  const sign = state.sort.startsWith("-") ? -1 : 1;
  const keyed = found.map((paper) => [value(paper), paper]);
  keyed.sort(([a], [b]) => (a && b ? sign * compare(a, b) : !a - !b));
  return keyed.map(([, paper]) => paper);
}

/* The table: only the active row can be reached with Tab; the arrow keys move to other rows. */

let rows = papers;
let active = 0;
let printing = false;

function showTable() {
  const pages = Math.max(1, Math.ceil(rows.length / SIZE));
  const page = Math.min(Number(state.page), pages) || 1;
  const from = printing ? 0 : (page - 1) * SIZE;
  const shown = rows.slice(from, from + (printing ? PRINTED : SIZE));
  const last = from + shown.length;
  active = between(from, active, last - 1);
  for (const { key, header } of columns) {
    header.hidden = chosen({ key: "hide" }).includes(key);
    header.ariaSort = { [key]: "ascending", [`-${key}`]: "descending" }[state.sort] ?? "none";
  }
  grid.tBodies[0].replaceChildren();
  grid.classList.remove("fitted");
  for (const { index, header } of printing ? [] : columns.toReversed())
    if (index >= 0 && grid.offsetWidth > view.clientWidth) {
      header.hidden = true;
      grid.classList.add("fitted");
    }
  grid.tBodies[0].replaceChildren(...shown.map((paper, i) => rowOf(paper, from + i)));
  byId("place").textContent = rows.length
    ? `${grouped(from + 1)} to ${grouped(last)} of ${grouped(rows.length)}`
    : "No paper matches.";
  byId("back").disabled = page === 1;
  byId("forward").disabled = page === pages;
}

function rowOf(paper, number) {
  const row = document.createElement("tr");
  row.ariaCurrent = paper.key === state.paper;
  row.tabIndex = number === active ? 0 : -1;
  row.dataset.row = number;
  for (const { key, index, header } of columns) {
    const from = paper.entries[index] ?? paper.content;
    const cell = row.insertCell();
    cell.hidden = header.hidden;
    cell.className = `${header.className} ${index < 0 ? "" : from.className}`;
    cell.classList.toggle("chosen", paper.key === state.paper && key === state.move);
    cell.dataset.label = header.textContent;
    cell.dataset.key = key;
    for (const part of from.querySelectorAll(PARTS[key] ?? ".text, .flag, .suggestion"))
      cell.append(part.cloneNode(true));
  }
  return row;
}

/** Open a paper in the detail view, with the passages of a move highlighted. */
function open(row, key) {
  const move = moves.includes(key) ? key : "";
  active = row;
  update({ paper: rows[row].key, move, page: String(Math.floor(row / SIZE) + 1) });
  focusActive();
}

function focusActive() {
  const row = grid.querySelector(`[data-row="${active}"]`);
  row?.focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

function onTableKey(event) {
  const far = rows.length;
  const arrows = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
  const keys = { ...arrows, Home: -far, End: far, Enter: 0 };
  if (!(event.key in keys) || event.target.tagName !== "TR") return;
  event.preventDefault();
  const row = between(0, active + keys[event.key], far - 1);
  if (state.paper || event.key === "Enter") return open(row, state.move);
  active = row;
  update({ page: String(Math.floor(row / SIZE) + 1) });
  focusActive();
}

/* One paper */

function showDetail() {
  const paper = byKey.get(state.paper);
  byId("detail").hidden = !paper || state.tab !== "papers";
  if (!paper) return;
  const body = byId("detail").querySelector("article");
  if (body.dataset.key !== paper.key) {
    body.dataset.key = paper.key;
    const [, ...parts] = paper.content.cloneNode(true).children; // without its summary
    body.replaceChildren(...parts);
    body.querySelector(".facts").append(byId(`provenance-${paper.shared}`).content.cloneNode(true));
  }
  const place = rows.indexOf(paper);
  byId("position").textContent =
    place < 0 ? "not in the selection" : `${grouped(place + 1)} of ${grouped(rows.length)}`;
  byId("previous").disabled = place < 1;
  byId("next").disabled = place < 0 || place === rows.length - 1;
  markSource(body, body.querySelector(`[data-move="${state.move}"]`));
}

function step(by) {
  open(rows.indexOf(byKey.get(state.paper)) + by, state.move);
  byId(by < 0 ? "previous" : "next").focus();
}

function closeDetail() {
  update({ paper: "", move: "" });
  focusActive();
}

/* The page */

let selection = ""; // the state from which `rows` was computed

function render() {
  document.body.dataset.tab = state.tab;
  for (const tab of TABS) {
    byId(`${tab}-view`).hidden = tab !== state.tab;
    byId(`${tab}-tab`).ariaCurrent = tab === state.tab;
  }
  if (byId("query").value !== state.query) byId("query").value = state.query;
  for (const box of byId("columns").querySelectorAll("input"))
    box.checked = !chosen({ key: "hide" }).includes(box.value);
  const wanted = JSON.stringify([state.query, state.sort, facets.map(chosen)]);
  if (wanted !== selection) {
    selection = wanted;
    const { found, counts } = select();
    rows = sorted(found);
    facets.forEach((facet, f) => facet.boxes.forEach((box) => showBox(facet, box, counts[f])));
    const some = rows.length < papers.length ? `${grouped(rows.length)} of ` : "";
    byId("count").textContent = `${some}${grouped(papers.length)} paper${papers.length === 1 ? "" : "s"}`;
    byId("show-all").hidden = !some;
  }
  showDetail(); // first, since it reduces the width of the table
  showTable();
}

function showBox(facet, box, counts) {
  box.checked = chosen(facet).includes(box.value);
  box.parentElement.lastElementChild.textContent = grouped(counts.get(box.value) ?? 0);
  box.parentElement.classList.toggle("nothing", !counts.has(box.value));
}

function onKey(event) {
  if (event.key === "Escape" && state.paper) closeDetail();
  if (event.key !== "/" || event.target.tagName === "INPUT") return;
  event.preventDefault();
  byId("query").focus();
}

const actions = {
  "show-all": () => update({ ...usual, sort: state.sort, hide: state.hide }),
  back: () => update({ page: String(Number(state.page) - 1) }),
  forward: () => update({ page: String(Number(state.page) + 1) }),
  previous: () => step(-1),
  next: () => step(1),
  close: closeDetail,
};

function onClick({ target }) {
  const element = target.closest("a, button, td");
  if (!element) return;
  const { key, move } = element.dataset;
  actions[element.id]?.();
  if (element.id.endsWith("-tab")) update({ tab: element.id.replace("-tab", "") });
  if (move) update({ move: move === state.move ? "" : move });
  if (element.tagName === "TD" && !`${getSelection()}`)
    open(Number(element.parentElement.dataset.row), key);
  if (element.parentElement.tagName === "TH")
    update({ sort: { [key]: `-${key}`, [`-${key}`]: "" }[state.sort] ?? key });
}

new ResizeObserver(() => {
  const had = grid.tBodies[0].contains(document.activeElement);
  showTable();
  if (had) focusActive();
}).observe(view);
byId("facets").open = matchMedia("(min-width: 64rem)").matches;
byId("query").addEventListener("input", () => update({ query: byId("query").value }));
byId("columns").addEventListener("change", ({ target }) => toggle("hide", target.value));
byId("facets").addEventListener("change", ({ target }) => toggle(target.name, target.value));
grid.tBodies[0].addEventListener("keydown", onTableKey);
document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
for (const event of ["beforeprint", "afterprint"])
  addEventListener(event, ({ type }) => {
    printing = type === "beforeprint";
    showTable();
  });
addEventListener("hashchange", () => {
  readAddress();
  render();
});
readAddress();
if (papers.length === 1 && !location.hash) state.paper = papers[0].key;
render();
