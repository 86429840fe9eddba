/* The facets beside the table, and what is chosen of them above it. */

const LONG = 10; // values of a facet that are shown before more are asked for
const boxes = new Map(); // facet key: [{label, input, count}, ...] by value

function buildFacets() {
  const general = facets.filter((facet) => facet.move === undefined && facet.values.length > 1);
  const byMove = facets.filter((facet) => facet.move !== undefined);
  byId("facets").append(...general.map(valuesOf), statedOrNot(byMove));
}

function box(facet, position, name) {
  const value = facet.values[position];
  const input = h("input", {
    type: "checkbox",
    "aria-label": name,
    onchange: () => toggle(facet, value),
  });
  const count = h("span", { class: "count" });
  const label = h(
    "label",
    {},
    input,
    h("span", { class: "value", dir: "auto" }, facet.label(value)),
    count,
  );
  const made = { label, input, count };
  if (!boxes.has(facet.key)) boxes.set(facet.key, []);
  boxes.get(facet.key).push(made);
  return made;
}

function valuesOf(facet) {
  const labels = facet.values.map((value, i) => box(facet, i, null).label);
  const set = h("fieldset", {}, h("legend", {}, facet.name), labels.slice(0, LONG));
  const more = labels.slice(LONG);
  if (more.length) {
    const summary = h("summary", {}, `${grouped(more.length)} more`);
    set.append(h("details", {}, summary, h("div", { class: "more" }, more)));
  }
  return set;
}

/** The moves' own facets, one line each. */
function statedOrNot(byMove) {
  const lines = byMove.map((facet) => {
    const cells = facet.values.map((value, i) => {
      const { label } = box(facet, i, `${facet.name}: ${value}`);
      return h("td", {}, label);
    });
    return h("tr", {}, h("th", { scope: "row" }, facet.name), cells);
  });
  const head = h(
    "tr",
    {},
    h("td"),
    h("th", { scope: "col" }, STATED),
    h("th", { scope: "col" }, "not"),
  );
  const table = h("table", { class: "moves" }, h("thead", {}, head), h("tbody", {}, lines));
  return h("fieldset", {}, h("legend", {}, "Moves"), table);
}

/** Show what is chosen, and how many papers each value would leave. */
function showFacets(counts) {
  facets.forEach((facet, f) => {
    const chosen = state.chosen[facet.key] ?? [];
    boxes.get(facet.key)?.forEach(({ label, input, count }, i) => {
      input.checked = chosen.includes(facet.values[i]);
      count.textContent = grouped(counts[f][i]);
      label.classList.toggle("nothing", counts[f][i] === 0);
    });
  });
  showChips();
}

function showChips() {
  const chips = facets.flatMap((facet) =>
    (state.chosen[facet.key] ?? []).map((value) => {
      const name = facet.key === "findings" || facet.key === "model" ? "" : `${facet.name}: `;
      const text = `${name}${facet.label(value)}`;
      const label = `Take away the choice ${text}`;
      const onclick = () => toggle(facet, value);
      return h("button", { type: "button", class: "chip", "aria-label": label, onclick }, text);
    }),
  );
  if (chips.length || state.query) {
    const onclick = () => update({ query: "", chosen: {} });
    chips.push(h("button", { type: "button", class: "clear", onclick }, "Show all"));
  }
  byId("chips").replaceChildren(...chips);
}

function showCount(found) {
  const all = papers.length;
  const text =
    found === all ? counted(all, "paper") : `${grouped(found)} of ${counted(all, "paper")}`;
  if (byId("count").textContent !== text) byId("count").textContent = text;
}

/** Which moves are columns. */
function buildColumns() {
  const sheet = byId("columns").querySelector(".sheet");
  moves.forEach((move) => {
    const onchange = (event) => {
      const chosen = new Set(state.columns);
      if (event.target.checked) chosen.add(move.name);
      else chosen.delete(move.name);
      update({ columns: moves.map(({ name }) => name).filter((name) => chosen.has(name)) });
    };
    const input = h("input", { type: "checkbox", "data-move": move.name, onchange });
    const definition = h("span", { class: "definition" }, move.definition);
    sheet.append(h("label", {}, input, h("span", {}, move.label, " ", definition)));
  });
}

/** The order, where there are no headers to click. */
function buildOrder() {
  const orders = {
    "": "as in the file",
    "-year": "newest",
    year: "oldest",
    title: "title",
    support: "lowest support",
  };
  const options = Object.entries(orders).map(([value, label]) => h("option", { value }, label));
  byId("order").append(...options);
  byId("order").addEventListener("change", () => update({ sort: byId("order").value }));
}

function showColumns() {
  byId("order").value = state.sort;
  for (const input of byId("columns").querySelectorAll("input")) {
    input.checked = state.columns.includes(input.dataset.move);
  }
}
