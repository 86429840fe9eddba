/* What is shown of what is chosen, and the parts of the page that are there once. */

const NAMES = { papers: "Papers", statistics: "Statistics", failures: "Failures" };
let selected = null; // what the table and the statistics were last made of

function buildTop() {
  const { title, version } = page.framework;
  byId("summary").textContent = [
    counted(papers.length, "paper"),
    failures.length ? `${grouped(failures.length)} failed` : "",
    `${title}${version === "1" ? "" : `, version ${version}`}`,
  ]
    .filter(Boolean)
    .join(" · ");
  byId("about").hidden = !Object.keys(page.about).length;
  byId("about").querySelector("dl").replaceWith(factList(page.about));
  for (const tab of TABS) {
    const onclick = () => update({ tab });
    const attributes = {
      type: "button",
      role: "tab",
      id: `${tab}-tab`,
      "aria-controls": `${tab}-view`,
      onclick,
    };
    const count =
      tab === "failures" && failures.length
        ? h("span", { class: "count" }, grouped(failures.length))
        : null;
    byId("tabs").append(h("button", attributes, NAMES[tab], count));
  }
  byId("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = TABS[(TABS.indexOf(state.tab) + by + TABS.length) % TABS.length];
    update({ tab: next });
    byId(`${next}-tab`).focus();
  });
  byId("query").addEventListener(
    "input",
    coalesced(() => update({ query: byId("query").value })),
  );
}

/** The facets have a place of their own on a wide screen, and are asked for on a narrow one. */
function buildToggle() {
  const button = byId("facets-toggle");
  const show = (open) => {
    document.body.classList.toggle("with-facets", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => show(!document.body.classList.contains("with-facets")));
  show(matchMedia("(min-width: 64rem)").matches);
}

/** A menu closes when something else is clicked or focused. */
function buildMenus() {
  const close = (event) => {
    for (const menu of document.querySelectorAll("details.menu[open], #about[open]")) {
      if (!menu.contains(event.target)) menu.removeAttribute("open");
    }
  };
  document.addEventListener("click", close);
  document.addEventListener("focusin", close);
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest("details.menu[open], #about[open]");
    if (!menu) return;
    event.preventDefault();
    menu.removeAttribute("open");
    menu.querySelector("summary").focus();
  });
}

function render() {
  showTab();
  if (byId("query").value !== state.query) byId("query").value = state.query;
  const asked = JSON.stringify([state.query, state.chosen, state.sort, state.columns]);
  if (asked !== selected) {
    selected = asked;
    const { found, counts } = select(state.query, chosenValues());
    statistics.rows = found;
    showFacets(counts);
    showColumns();
    showCount(found.length);
    showRows(sorted(found));
    detail.paper = null; // its place among the others is another one
  }
  showDetail();
  showOpen();
  showStatistics();
}

function showTab() {
  for (const tab of TABS) {
    const now = tab === state.tab;
    byId(`${tab}-view`).hidden = !now;
    byId(`${tab}-tab`).setAttribute("aria-selected", String(now));
    byId(`${tab}-tab`).setAttribute("tabindex", now ? 0 : -1);
  }
  document.body.dataset.tab = state.tab;
  showWindow();
}

function start() {
  buildTop();
  buildToggle();
  buildMenus();
  buildFacets();
  buildColumns();
  buildOrder();
  buildTable();
  buildStatistics();
  buildFailures();
  document.addEventListener("keydown", onPageKey);
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  addEventListener("hashchange", () => {
    state = fromHash(location.hash);
    render();
  });
  state = fromHash(location.hash);
  if (papers.length === 1 && !location.hash) state.paper = papers[0].key;
  render();
  const open = table.rows.findIndex((paper) => paper.key === state.paper);
  if (open > 0) reveal(open);
  foldAhead();
}

start();
