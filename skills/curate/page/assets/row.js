/* One annotation: a line that unfolds to the abstract beside the moves, and to what was said. */

const stored = (id) => JSON.parse(byId(id).textContent);
const about = stored("about");
const shown = stored("shown");

const figure = (value, digits = 3) => (value == null ? "–" : value.toFixed(digits));
const SAID = { true: "pass", false: "no pass", null: "invalid" };

/** An annotation as an entry of a list; what is folded up is made when it is first opened. */
function rowEntry(row) {
  const entry = h(
    "details",
    {
      ontoggle: () => {
        if (entry.open && entry.children.length === 1) entry.append(rowBody(row));
      },
    },
    h(
      "summary",
      {},
      h("span", { class: "title", dir: "auto" }, row.title || row.id),
      " ",
      h("span", { class: "about" }, rowFacts(row)),
    ),
  );
  return h("li", {}, entry);
}

function rowFacts(row) {
  const facts = [h("span", { class: `decision ${kindOf(row)}` }, decisionOf(row))];
  if (row.votes.length) {
    const passed = row.votes.filter(([, pass]) => pass).length;
    facts.push(h("span", {}, `${passed} of ${row.votes.length} votes`));
    facts.push(h("span", {}, `mean ${figure(row.mean)}`));
  }
  if (row.close) facts.push(h("span", {}, `${figure(row.close[1])} from the bar`));
  facts.push(...row.reasons.map((code) => h("span", { class: "code" }, code)));
  return facts.flatMap((fact) => [fact, " "]);
}

const kindOf = (row) => (row.findings.length ? "gated" : row.decision);
const decisionOf = (row) => (row.decision === "undecided" ? "open" : row.decision);

function rowBody(row) {
  const sentences = row.sentences.map((sentence) => h("span", { class: "sentence" }, sentence));
  const spaced = sentences.flatMap((sentence) => [sentence, " "]);
  return h(
    "div",
    { class: "body" },
    h("p", { class: "place" }, idLink(row), " ", h("span", { dir: "auto" }, row.where)),
    row.error && h("p", { class: "flag", dir: "auto" }, row.error),
    wholeFindings(row),
    h(
      "div",
      { class: "sides" },
      h("div", { class: "abstract" }, h("h4", {}, "Abstract"), h("p", { dir: "auto" }, spaced)),
      h("ul", { class: "entries" }, moveEntries(row, sentences)),
    ),
    votesTable(row),
  );
}

const moveEntries = (row, sentences) =>
  about.moves.map((move, index) => moveEntry(row, move, index, sentences));

/** What the gates found of an annotation as a whole. */
function wholeFindings(row) {
  const whole = row.findings.filter(([move]) => !move);
  return whole.map(([, detail]) => h("p", { class: "flag", dir: "auto" }, detail));
}

/** A move: a button that marks the sentence it most likely comes from, and what the gates found. */
function moveEntry(row, move, index, sentences) {
  const label = h("span", { class: "label", title: move.definition }, move.label);
  const flags = row.findings
    .filter(([name]) => name === move.name)
    .map(([, detail]) => h("p", { class: "flag", dir: "auto" }, detail));
  const source = row.source[index];
  if (!source || !sentences[source[0]]) {
    const text = h("span", { class: "said", dir: "auto" }, row.moves[index] || "(empty)");
    const kind = row.moves[index] === about.not_stated ? "absent" : null;
    return h("li", { class: kind }, h("p", {}, label, " ", text), flags);
  }
  const text = h("span", { class: "said", dir: "auto" }, row.moves[index]);
  const title = `Sentence ${source[0] + 1} has ${percent(source[1])} of its words, in order`;
  const onclick = (event) => markSource(event.currentTarget, sentences, source[0]);
  const given = { type: "button", title, "aria-pressed": "false", onclick };
  const button = h("button", given, label, " ", text);
  return h("li", {}, button, flags);
}

function markSource(button, sentences, index) {
  const on = button.getAttribute("aria-pressed") === "true";
  for (const other of button.closest("ul").querySelectorAll("button"))
    other.setAttribute("aria-pressed", "false");
  sentences.forEach((sentence, i) => sentence.classList.toggle("marked", !on && i === index));
  button.setAttribute("aria-pressed", String(!on));
}

function votesTable(row) {
  if (!row.votes.length) return h("p", { class: "soft" }, "The panel was not asked.");
  const explained = row.votes.some(([, , , why]) => why);
  const heads = ["Persona", "Score", "Passes from", "Vote", "Mass", ...(explained ? ["Why"] : [])];
  const head = heads.map((name, i) =>
    h("th", { scope: "col", class: i && i < 5 ? "figures" : "words" }, name),
  );
  const lines = row.votes.map(([score, passed, mass, why], i) => {
    const persona = about.personas[i];
    const cells = [figure(score), figure(persona.threshold), SAID[passed], figure(mass, 2)];
    return h(
      "tr",
      { class: passed === false ? "against" : null },
      h("th", { scope: "row", class: "words", title: persona.criterion }, persona.name),
      cells.map((cell) => h("td", { class: "figures" }, cell)),
      explained && h("td", { class: "words", dir: "auto" }, why),
    );
  });
  return h(
    "div",
    { class: "wide", role: "region", "aria-label": "Votes", tabindex: 0 },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, lines)),
  );
}
