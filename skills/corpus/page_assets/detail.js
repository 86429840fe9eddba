/* One paper: its abstract with the sentence marked that a move most likely comes from, its moves
   with what was checked, and where the annotation comes from. */

const detail = { paper: null };

/** Show the paper that is open, or none. */
function showDetail() {
  const panel = byId("detail");
  const paper = paperOf.get(state.paper);
  panel.hidden = !paper || state.tab !== "papers";
  document.body.classList.toggle("with-detail", !panel.hidden);
  if (!paper) {
    detail.paper = null;
    panel.replaceChildren();
    return;
  }
  if (detail.paper !== paper) buildDetail(panel, paper);
  markMove(paper);
}

function closeDetail() {
  const row = table.rows.findIndex((paper) => paper.key === state.paper);
  const column = table.columns.findIndex(
    ({ index }) => index !== undefined && moves[index].name === state.move,
  );
  update({ paper: "", move: "" });
  if (row >= 0) goTo(row, Math.max(column, 0));
}

function buildDetail(panel, paper) {
  detail.paper = paper;
  detail.sentences = paper.sentences.map((sentence) => h("span", { class: "sentence" }, sentence));
  detail.moves = moves.map((_, index) => moveEntry(paper, index));
  const spaced = detail.sentences.flatMap((sentence) => [sentence, " "]);
  panel.replaceChildren(
    detailBar(),
    h("div", { class: "paper", tabindex: 0 }, ...paperHead(paper)),
    h(
      "div",
      { class: "abstract", tabindex: 0 },
      h("h3", {}, "Abstract"),
      h("p", { dir: "auto" }, spaced),
    ),
    h("div", { class: "rest" }, h("ul", { class: "entries" }, detail.moves), provenanceOf(paper)),
  );
  panel.scrollTop = 0;
}

function detailBar() {
  const place = table.rows.indexOf(detail.paper);
  const step = (by, name, sign) => {
    const to = table.rows[place + by];
    const onclick = () => {
      update({ paper: to.key, move: to.moves[moveIndex()] == null ? "" : state.move });
      reveal(place + by);
      byId("detail").querySelector(`[aria-label="${name}"]`).focus();
    };
    const off = place < 0 || !to;
    return h(
      "button",
      { type: "button", "aria-label": name, title: name, disabled: off, onclick },
      sign,
    );
  };
  const position =
    place < 0 ? "not in the selection" : `${grouped(place + 1)} of ${grouped(table.rows.length)}`;
  return h(
    "div",
    { class: "detail-bar" },
    step(-1, "Previous paper", "↑"),
    step(1, "Next paper", "↓"),
    h("span", { class: "place" }, position),
    h(
      "button",
      {
        type: "button",
        class: "close",
        "aria-label": "Close",
        title: "Close (Esc)",
        onclick: closeDetail,
      },
      "×",
    ),
  );
}

function paperHead(paper) {
  const about = [idLink(paper)];
  if (paper.published || paper.year)
    about.push(h("span", {}, paper.published || String(paper.year)));
  if (paper.categories.length) about.push(h("span", { dir: "auto" }, paper.categories.join(", ")));
  return [
    h("h2", { dir: "auto" }, paper.title || "Without title"),
    paper.authors && h("p", { class: "authors", dir: "auto" }, paper.authors),
    h("p", { class: "about" }, about),
  ];
}

/** A move in the panel: a button that marks its source, and what was checked. */
function moveEntry(paper, index) {
  const move = moves[index];
  const label = h("span", { class: "label", title: move.definition }, move.label);
  if (paper.moves[index] == null) {
    return h("li", { class: "absent" }, label, " ", h("span", {}, page.framework.not_stated));
  }
  const onclick = () => update({ move: state.move === move.name ? "" : move.name });
  const text = h("span", { class: "said", dir: "auto" }, moveText(paper, index));
  const button = h(
    "button",
    { type: "button", onclick, "aria-pressed": "false" },
    label,
    " ",
    text,
  );
  const found = findings(paper, index).map((finding) =>
    h("p", { class: "flag" }, `${finding.long}.`),
  );
  return h(
    "li",
    {},
    button,
    found,
    h("p", { class: "checks", hidden: true }, checksOf(paper, index)),
  );
}

function checksOf(paper, index) {
  const source = paper.source[index];
  const support = paper.support[index];
  const low = support < page.low_support; // which is said already
  const parts = [
    low ? "" : `${percent(support)} of its content words are in the abstract`,
    `${percent(paper.copied[index])} copied word for word`,
    source
      ? `nearest is sentence ${source[0] + 1} (${percent(source[1])} of its words, in order)`
      : "its source sentence is not in this abstract",
  ];
  return `${parts.filter(Boolean).join(" · ")}.`;
}

const moveIndex = () => moves.findIndex((move) => move.name === state.move);

/** Mark the sentence that the chosen move comes from. */
function markMove(paper) {
  const chosen = moveIndex();
  detail.moves.forEach((entry, index) => {
    entry.classList.toggle("chosen", index === chosen);
    entry.querySelector("button")?.setAttribute("aria-pressed", String(index === chosen));
    const checks = entry.querySelector(".checks");
    if (checks) checks.hidden = index !== chosen;
  });
  const source = paper.source[chosen]?.[0] ?? -1;
  detail.sentences.forEach((sentence, index) => {
    if (index === source)
      sentence.replaceChildren(
        h("mark", {}, unseen(`Source of ${moves[chosen].label}: `), paper.sentences[index]),
      );
    else if (sentence.firstElementChild) sentence.replaceChildren(paper.sentences[index]);
  });
  const marked = detail.sentences[source];
  const abstract = byId("detail").querySelector(".abstract");
  if (marked) {
    const room = abstract.getBoundingClientRect();
    const at = marked.getBoundingClientRect();
    if (at.top < room.top + 30 || at.bottom > room.bottom)
      abstract.scrollTop += at.top - room.top - 48;
  }
  if (chosen >= 0) detail.moves[chosen].scrollIntoView({ block: "nearest" });
}

function provenanceOf(paper) {
  const all = { ...page.provenances[paper.shared], ...paper.own };
  return h(
    "details",
    { class: "provenance" },
    h("summary", {}, "Where it comes from"),
    factList(all),
  );
}

/** Facts as a list of terms; what is nested has the names of what it is in before its own. */
function factList(facts) {
  return h(
    "dl",
    {},
    flatFacts(facts, "").map(([name, value]) => [
      h("dt", {}, name.replaceAll("_", " ")),
      h("dd", { dir: "auto" }, value),
    ]),
  );
}

function flatFacts(facts, before) {
  return Object.entries(facts).flatMap(([key, value]) => {
    if (value === null || value === "") return [];
    if (typeof value !== "object") return [[before + key, factText(key, value)]];
    if (Array.isArray(value) && value.every((v) => typeof v !== "object"))
      return [[before + key, value.join(", ")]];
    return flatFacts(value, `${before}${key}, `);
  });
}

/** Counts are grouped; what is compared with other runs stands as it is. */
function factText(key, value) {
  return Number.isInteger(value) && key !== "seed" ? grouped(value) : String(value);
}
