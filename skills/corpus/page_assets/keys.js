/* The table by mouse and by keys, after the grid pattern of the ARIA practices: one cell is in the
   order of tabs, and the arrows move from it. */

/** Open a cell's paper, with the source of its move marked. */
function openCell(row, column) {
  const paper = table.rows[row];
  const index = table.columns[column]?.index;
  const stated = index !== undefined && paper.moves[index] != null;
  update({ paper: paper.key, move: stated ? moves[index].name : "" });
}

const placeOf = (cell) => ({
  row: Number(cell.parentElement.dataset.row),
  column: Number(cell.dataset.column),
});

function onRowClick(event) {
  const cell = event.target.closest("td[data-column]");
  if (!cell || event.target.closest("a") || String(getSelection())) return;
  const { row, column } = placeOf(cell);
  openCell(row, column);
}

function onCellFocus(event) {
  const cell = event.target.closest("td[data-column]");
  if (!cell) return;
  table.body.querySelector('td[tabindex="0"]')?.setAttribute("tabindex", -1);
  cell.setAttribute("tabindex", 0);
  table.active = placeOf(cell);
}

function onTableKey(event) {
  if (event.target.closest("thead, a") || event.ctrlKey || event.metaKey || event.altKey) return;
  const { row, column } = table.active;
  const by = Math.max(1, Math.floor(table.scroller.clientHeight / table.height) - 1);
  const steps = {
    ArrowDown: [row + 1, column],
    ArrowUp: [row - 1, column],
    ArrowRight: [row, column + 1],
    ArrowLeft: [row, column - 1],
    PageDown: [row + by, column],
    PageUp: [row - by, column],
    Home: [row, 0],
    End: [row, table.columns.length - 1],
  };
  if (event.key in steps) {
    event.preventDefault();
    goTo(...steps[event.key]);
    if (state.paper) openCell(table.active.row, table.active.column);
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    openCell(row, column);
  }
}

/** Move the focus to a cell, as far as there is one. */
function goTo(row, column) {
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  const to = within(row, table.rows.length);
  reveal(to);
  table.made.get(to)?.cells[within(column, table.columns.length)].focus({ preventScroll: false });
}

/** Keys that are the same everywhere. */
function onPageKey(event) {
  if (event.key === "Escape" && state.paper && !event.defaultPrevented) closeDetail();
  const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !writing) {
    event.preventDefault();
    byId("query").focus();
  }
}
