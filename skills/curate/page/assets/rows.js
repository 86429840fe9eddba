/* The lists: a few annotations at a time, and a choice of the reason. */

const STEP = 25; // annotations that are added at a time

function buildLists() {
  const close = shown.filter((row) => row.close).sort((a, b) => a.close[0] - b.close[0]);
  if (close.length) buildList(byId("borderline"), close);
  const refused = shown.filter((row) => row.decision !== "kept");
  buildList(byId("refused"), refused, refused.length > 0);
}

/** A list of rows; with `choice`, those of one reason can be chosen. */
function buildList(place, rows, choice = false) {
  const list = h("ul", { class: "rows" });
  const status = h("p", { class: "count", role: "status" });
  const more = h("button", { type: "button", class: "more" });
  const now = { rows, made: 0 };
  const add = () => {
    const next = now.rows.slice(now.made, now.made + STEP).map(rowEntry);
    list.append(...next);
    now.made += next.length;
    const left = now.rows.length - now.made;
    more.hidden = !left;
    more.textContent = `Show ${Math.min(left, STEP)} more`;
    status.textContent = rows.length
      ? `${grouped(now.made)} of ${counted(now.rows.length, "annotation")} shown.`
      : "There are none.";
    return next[0];
  };
  const show = (chosen) => {
    list.replaceChildren();
    Object.assign(now, { rows: chosen, made: 0 });
    add();
  };
  more.addEventListener("click", () => add().querySelector("summary").focus());
  place.append(choice ? reasonChoice(rows, show) : "", status, list, more);
  show(rows);
}

/** A choice of the reason, with what the chosen one means. */
function reasonChoice(rows, show) {
  const counts = new Map();
  for (const code of rows.flatMap((row) => row.reasons))
    counts.set(code, (counts.get(code) ?? 0) + 1);
  const codes = Object.keys(about.reasons).filter((code) => counts.has(code));
  const option = (code) => h("option", { value: code }, `${code} (${grouped(counts.get(code))})`);
  const meaning = h("span", { class: "soft", dir: "auto" });
  const onchange = (event) => {
    const code = event.target.value;
    meaning.textContent = about.reasons[code] ?? "";
    show(code ? rows.filter((row) => row.reasons.includes(code)) : rows);
  };
  const all = h("option", { value: "" }, `any (${grouped(rows.length)})`);
  const select = h("select", { id: "reason", onchange }, all, codes.map(option));
  return h("p", { class: "choice" }, h("label", { for: "reason" }, "Reason"), select, meaning);
}

buildLists();
byId("unlisted").remove();
