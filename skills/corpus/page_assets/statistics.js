/* The statistics of the papers that are shown: drawings, and the same as tables. */

const statistics = { rows: papers };

function buildStatistics() {
  new ResizeObserver(coalesced(showStatistics)).observe(byId("statistics-view"));
}

/** Draw what `statistics.rows` come to, where it can be seen. */
function showStatistics() {
  const view = byId("statistics-view");
  if (view.hidden) return;
  const kept = view.scrollTop;
  const open = [...view.querySelectorAll("details[open]")].map((element) => element.dataset.name);
  const focused = view.contains(document.activeElement)
    ? document.activeElement.dataset.name
    : null;
  const figures = statistics.rows.length
    ? [
        h("div", {}, ratesFigure(), supportFigure(), yearsFigure()),
        h("div", {}, groupsFigure(), movesTable()),
      ]
    : [h("p", { class: "empty" }, "No paper is like that.")];
  view.replaceChildren(h("div", { class: "figures" }, figures));
  for (const figure of view.querySelectorAll("figure[data-draws]")) draw(figure);
  for (const name of open)
    view.querySelector(`details[data-name="${name}"]`)?.setAttribute("open", "");
  if (focused) view.querySelector(`[data-name="${focused}"]`)?.focus();
  view.scrollTop = kept;
}

/** Drawings are made when their place has its width. */
const drawers = {};
function draw(figure) {
  const place = figure.querySelector(".drawing");
  place.replaceChildren(drawers[figure.dataset.draws](Math.max(240, place.clientWidth)));
}

function figure(name, title, note, drawer, head, lines) {
  drawers[name] = drawer;
  return h(
    "figure",
    { "data-draws": name },
    h("figcaption", {}, h("h2", {}, title), h("p", {}, note)),
    h("div", { class: "drawing" }),
    h("details", { "data-name": name }, h("summary", {}, "As a table"), dataTable(head, lines)),
  );
}

function dataTable(head, lines) {
  const cells = ([first, ...rest]) => [
    h("th", { scope: "row", dir: "auto" }, first),
    rest.map((cell) => h("td", {}, cell)),
  ];
  const columns = head.map((name) => h("th", { scope: "col" }, name));
  const body = lines.map((line) => h("tr", {}, cells(line)));
  return h(
    "div",
    { class: "wide", tabindex: 0 },
    h("table", { class: "data" }, h("thead", {}, h("tr", {}, columns)), h("tbody", {}, body)),
  );
}

const everyMove = () => moves.map((_, index) => index);
const part = () => statistics.rows.length < papers.length;
const exact = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)}%`);
const interval = ({ low, high, of }) => (of ? `${exact(low)} – ${exact(high)}` : "–");
const shareCells = (stated) => [
  grouped(stated.count),
  grouped(stated.of),
  exact(stated.value),
  interval(stated),
];

function ratesFigure() {
  const lines = everyMove().map((index) => {
    const { label, stated } = moveNumbers(statistics.rows, index);
    return { label, stated, all: part() ? moveNumbers(papers, index).stated : null };
  });
  const all = part() ? "; the bar is at the share of all papers" : "";
  const note = `Papers that state each move, with the 95% interval${all}.`;
  return figure(
    "rates",
    "What is stated",
    note,
    (width) => drawShares(lines, width, spoken("Share of papers that state each move", lines)),
    ["Move", "Stated", "Of", "Share", "95% interval"],
    lines.map(({ label, stated }) => [label, ...shareCells(stated)]),
  );
}

/** A drawing in words. */
const spoken = (what, lines) =>
  `${what}: ${lines.map(({ label, stated }) => `${label} ${percent(stated.value)}`).join(", ")}.`;

function groupsFigure() {
  const index = moves.findIndex((move) => move.name === state.subject);
  const groups = state.by === "year" ? byYear(statistics.rows) : byCategory(statistics.rows);
  const lines = groups.map(([label, rows]) => ({
    label,
    stated: moveNumbers(rows, index).stated,
    all: null,
  }));
  const title = `${moves[index].label} by ${state.by}`;
  const first = state.by === "category" ? ", by first category" : "";
  const made = figure(
    "groups",
    title,
    `Papers that state it, with the 95% interval${first}.`,
    (width) =>
      drawShares(
        lines,
        width,
        spoken(`Share of papers that state the move ${moves[index].label}`, lines),
      ),
    [state.by === "year" ? "Year" : "Category", "Stated", "Of", "Share", "95% interval"],
    lines.map(({ label, stated }) => [label, ...shareCells(stated)]),
  );
  made.querySelector("figcaption").append(choices(moves[index].name));
  return made;
}

function choices(subject) {
  const named = moves.map((move) =>
    h("option", { value: move.name, selected: move.name === subject }, move.label),
  );
  const ways = ["year", "category"].map((way) =>
    h("option", { value: way, selected: way === state.by }, way),
  );
  const select = (name, label, options, changed) =>
    h(
      "label",
      {},
      `${label} `,
      h(
        "select",
        { "data-name": name, onchange: (event) => update(changed(event.target.value)) },
        options,
      ),
    );
  return h(
    "p",
    { class: "choices" },
    select("subject", "Move", named, (value) => ({ subject: value })),
    select("by", "by", ways, (value) => ({ by: value })),
  );
}

function supportFigure() {
  const bins = supportBins(statistics.rows);
  const edge = (i) => percent(i / BINS);
  const bars = bins.map((count, i) => ({ label: edge(i), count, tick: i % 4 === 0 }));
  const total = bins.reduce((a, b) => a + b, 0);
  const low = bins.slice(0, Math.round(page.low_support * BINS)).reduce((a, b) => a + b, 0);
  const below = `${grouped(low)} below ${percent(page.low_support)}`;
  const borne = "the share of their content words that the abstract holds";
  return figure(
    "support",
    "How well it is borne out",
    `${counted(total, "move")} by ${borne}; ${below}.`,
    (width) =>
      drawColumns(
        bars,
        width,
        `Histogram of support: ${counted(total, "move")}, ${below}.`,
        edge(BINS),
      ),
    ["Support", "Moves"],
    bins.map((count, i) => [`${edge(i)} – ${edge(i + 1)}`, grouped(count)]),
  );
}

function yearsFigure() {
  const groups = byYear(statistics.rows);
  const every = Math.ceil(groups.length / 12);
  const bars = groups.map(([label, rows], i) => ({
    label,
    count: rows.length,
    tick: i % every === 0,
  }));
  const said = bars.map(({ label, count }) => `${label} ${count}`).join(", ");
  return figure(
    "years",
    "When it was published",
    "Papers by year.",
    (width) => drawColumns(bars, width, `Papers by year: ${said}.`),
    ["Year", "Papers"],
    bars.map(({ label, count }) => [label, grouped(count)]),
  );
}

function movesTable() {
  const lines = everyMove().map((index) => {
    const { label, stated, support, copied, numbers, names } = moveNumbers(statistics.rows, index);
    return [
      label,
      grouped(stated.count),
      exact(support),
      exact(copied),
      grouped(numbers.count),
      grouped(names.count),
    ];
  });
  const head = ["Move", "Stated", "Support", "Copied", "Unknown numbers", "Unknown names"];
  const note = `Support and copied are means over the papers that state the move; unknown is what
    the abstract does not hold.`;
  return h(
    "figure",
    {},
    h("figcaption", {}, h("h2", {}, "What was checked"), h("p", {}, note)),
    dataTable(head, lines),
  );
}
