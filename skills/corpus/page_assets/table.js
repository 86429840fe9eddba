/* The table: all rows are as tall, and only those near the window exist. */

const AROUND = 6; // rows kept above and below the window
const PRINTED = 1000; // rows on paper at most
const table = {
  rows: [],
  columns: [],
  made: new Map(),
  active: { row: 0, column: 0 },
  height: 0,
  printing: false,
};

function buildTable() {
  table.above = h("tr", { class: "gap", "aria-hidden": "true" }, h("td", { role: "presentation" }));
  table.below = h("tr", { class: "gap", "aria-hidden": "true" }, h("td", { role: "presentation" }));
  table.head = h("tr", { role: "row", "aria-rowindex": 1 });
  table.group = h("colgroup");
  table.body = h("tbody", { role: "rowgroup" }, table.above, table.below);
  table.grid = h(
    "table",
    { role: "grid", "aria-label": "Papers and their moves" },
    table.group,
    h("thead", { role: "rowgroup" }, table.head),
    table.body,
  );
  table.empty = h("p", { class: "empty" }, "No paper is like that.");
  table.scroller = h("div", { class: "scroller", tabindex: -1 }, table.grid, table.empty);
  byId("papers-view").append(table.scroller, h("p", { class: "printed-note" }));
  table.scroller.addEventListener("scroll", coalesced(showWindow), { passive: true });
  new ResizeObserver(coalesced(remeasure)).observe(table.scroller);
  table.body.addEventListener("click", onRowClick);
  table.body.addEventListener("focusin", onCellFocus);
  table.scroller.addEventListener("keydown", onTableKey);
}

/** Show these papers from the first one on. */
function showRows(rows) {
  table.rows = rows;
  table.columns = columns();
  table.active = { row: 0, column: Math.min(table.active.column, table.columns.length - 1) };
  table.grid.setAttribute("aria-rowcount", rows.length + 1);
  table.grid.setAttribute("aria-colcount", table.columns.length);
  table.group.replaceChildren(
    ...table.columns.map((c) => h("col", { class: c.key.split(".")[0] })),
  );
  table.head.replaceChildren(...table.columns.map(headCell));
  table.grid.className = `moves-${Math.min(table.columns.length - 3, 8)}`;
  table.grid.hidden = !rows.length;
  table.empty.hidden = rows.length > 0;
  clearRows();
  table.scroller.scrollTop = 0;
  showWindow();
}

function headCell(column, position) {
  const now = state.sort.replace(/^-/, "") === column.key;
  const reversed = state.sort.startsWith("-");
  const order = now ? (reversed ? "descending" : "ascending") : "none";
  const next = !now ? column.key : reversed ? "" : `-${column.key}`;
  const onclick = () => {
    update({ sort: next });
    table.head.children[position]?.querySelector("button").focus();
  };
  const button = h("button", { type: "button", title: column.title, onclick }, column.label);
  const kind = column.key.split(".")[0];
  return h("th", { role: "columnheader", scope: "col", class: kind, "aria-sort": order }, button);
}

function clearRows() {
  for (const row of table.made.values()) row.remove();
  table.made.clear();
}

/** Rows may be of another height since the window was made narrower or the text larger. */
function remeasure() {
  table.height = 0;
  showWindow();
}

function showWindow() {
  if (!table.rows.length || table.printing || byId("papers-view").hidden) return;
  if (!table.height) {
    if (!table.made.size) makeRows(0, 1);
    const [any] = table.made.values();
    table.height = any.getBoundingClientRect().height || 1;
  }
  const top = table.scroller.scrollTop - table.head.getBoundingClientRect().height;
  const first = Math.max(0, Math.floor(top / table.height) - AROUND);
  const seen = Math.ceil(table.scroller.clientHeight / table.height) + 2 * AROUND;
  makeRows(first, Math.min(table.rows.length, first + seen));
}

/** Have the rows from `first` up to `last` exist, and no others; those that do stay as they are. */
function makeRows(first, last) {
  for (const [i, row] of table.made) {
    if (i >= first && i < last) continue;
    if (row.contains(document.activeElement)) table.scroller.focus({ preventScroll: true });
    row.remove();
    table.made.delete(i);
  }
  let next = table.below;
  for (let i = last - 1; i >= first; i -= 1) {
    if (!table.made.has(i)) {
      table.made.set(i, makeRow(table.rows[i], i));
      table.body.insertBefore(table.made.get(i), next);
    }
    next = table.made.get(i);
  }
  table.above.firstChild.style.height = `${first * table.height}px`;
  table.below.firstChild.style.height = `${(table.rows.length - last) * table.height}px`;
}

function makeRow(paper, row) {
  const cells = table.columns.map((column, position) => {
    const here = row === table.active.row && position === table.active.column;
    const kind = column.key.split(".")[0];
    const attributes = {
      role: "gridcell",
      class: column.index !== undefined && paper.moves[column.index] == null ? `${kind} not` : kind,
      tabindex: here ? 0 : -1,
      "data-column": position,
      "data-label": column.index === undefined ? null : column.label,
      "aria-colindex": position + 1,
    };
    return h("td", attributes, h("div", { class: "cell" }, cellOf(paper, column)));
  });
  const made = h("tr", { role: "row", "aria-rowindex": row + 2, "data-row": row }, cells);
  markOpen(made, paper);
  return made;
}

function markOpen(made, paper) {
  const open = paper.key === state.paper;
  made.classList.toggle("open", open);
  made.setAttribute("aria-selected", String(open));
  table.columns.forEach((column, position) => {
    const chosen = open && column.index !== undefined && moves[column.index].name === state.move;
    made.cells[position].classList.toggle("chosen", chosen);
  });
}

/** Show which paper and move are open. */
function showOpen() {
  for (const [i, row] of table.made) markOpen(row, table.rows[i]);
}

/** Scroll a row to where it can be seen, if it cannot. */
function reveal(row) {
  if (!table.height) return;
  const head = table.head.getBoundingClientRect().height;
  const top = row * table.height;
  const room = table.scroller.clientHeight - head - table.height;
  if (top < table.scroller.scrollTop) table.scroller.scrollTop = top;
  else if (top > table.scroller.scrollTop + room) table.scroller.scrollTop = top - room;
  showWindow();
}

/** All rows, for paper. */
function beforePrint() {
  if (!table.rows.length || byId("papers-view").hidden) return;
  const shown = Math.min(table.rows.length, PRINTED);
  const note =
    shown < table.rows.length
      ? `The first ${grouped(shown)} of ${counted(table.rows.length, "paper")}.`
      : "";
  byId("papers-view").querySelector(".printed-note").textContent = note;
  table.printing = true;
  makeRows(0, shown);
}

function afterPrint() {
  table.printing = false;
  showWindow();
}
