/* The pages of a review: keyboard shortcuts for the buttons, and storage of drafts. */

const article = document.querySelector(".review[data-id]");
const help = document.getElementById("help");
const moves = [...document.querySelectorAll(".move")];
const places = [...document.querySelectorAll("[data-moves]")];
const namesOf = (place) => place.dataset.moves.split(" ");
let chosen = moves.find((move) => move.dataset.move === article?.dataset.chosen) ?? null;
let selection = { text: "", before: 0 };
let saving = Promise.resolve();
let pending = 0;

/** Highlight the moves with these names, and the sentences and passages that state them. */
function mark(names) {
  for (const move of moves) move.classList.toggle("marked", names.includes(`move.${move.dataset.move}`));
  for (const place of places)
    place.classList.toggle("marked", namesOf(place).some((name) => names.includes(name)));
}

const markChosen = () => mark(chosen ? [`move.${chosen.dataset.move}`] : []);

function choose(move, focus = true) {
  if (!move) return;
  chosen = move;
  for (const other of moves) {
    other.classList.toggle("chosen", other === move);
    if (other === move) other.setAttribute("aria-current", "true");
    else other.removeAttribute("aria-current");
  }
  markChosen();
  if (focus) move.focus();
}

function step(by) {
  choose(moves[Math.min(Math.max(moves.indexOf(chosen) + by, 0), moves.length - 1)]);
}

/* Drafts: changes are sent one after the other; a text that a later text replaces is not sent. */

const wanted = new Map();

/** Store the draft of a move; null deletes the draft. */
function store(move, text) {
  const body = new URLSearchParams({
    id: article.dataset.id,
    move,
    ...(text === null ? { forget: "1" } : { text }),
  });
  const own = Symbol();
  wanted.set(move, own);
  pending += 1;
  saving = saving
    .then(() => {
      if (wanted.get(move) !== own) return null; // a later text will be sent
      return fetch("/review/draft", { method: "POST", body, keepalive: true });
    })
    .then(
      (answer) => answer && report(answer.ok ? "" : "reload this page to see the reason."),
      () => report("the server does not answer, or has ended."),
    )
    .finally(() => (pending -= 1));
}

/** Show the reason why a draft is not stored; "" removes the message. */
function report(why) {
  const line = document.querySelector(".notice-line");
  line.classList.toggle("flag", why !== "");
  line.textContent = why && `What you type is not stored: ${why}`;
}

function edit(move) {
  choose(move, false);
  const details = move.querySelector("details.edit");
  const area = details.querySelector("textarea");
  details.open = true;
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

function cancel(area) {
  area.value = area.dataset.before;
  store(area.closest(".move").dataset.move, null);
  area.closest("details").open = false;
  choose(area.closest(".move"));
}

for (const area of document.querySelectorAll(".edit textarea")) {
  area.addEventListener("input", () => {
    const isNew = area.value !== area.dataset.before;
    store(area.closest(".move").dataset.move, isNew ? area.value : null);
  });
  area.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") cancel(area);
    else if (event.key === "Enter") area.form.querySelector("[value=edit]").click();
    else return;
    event.preventDefault();
  });
}

for (const form of document.forms)
  form.addEventListener("submit", (event) => {
    if (!pending) return;
    event.preventDefault(); // the draft must arrive before the form
    // A later task submits the form, since it cannot be submitted again within this event.
    saving.then(() => setTimeout(() => form.requestSubmit(event.submitter)));
  });

/* Disagreements: each choice is sent immediately; typing another text selects that text. */

const differing = [...document.querySelectorAll("fieldset.differs")];

for (const move of differing)
  move.addEventListener("input", (event) => {
    const area = move.querySelector("textarea");
    if (event.target === area) move.querySelector("[value=own]").checked = true;
    store(move.dataset.move, move.querySelector(":checked").dataset.text ?? area.value);
  });

/** Return the first move without a choice. */
const undecided = () => differing.find((move) => !move.querySelector(":checked"));

/** Choose the text of a reviewer for the first undecided move, and move the focus to the next. */
function side(number) {
  undecided()?.querySelectorAll("[data-text]")[number - 1]?.click();
  (undecided()?.querySelector("input") ?? document.querySelector("[data-key=a]")).focus();
}

/** Focus the text field of the focused move, or of the first undecided move. */
function write() {
  const move = document.activeElement.closest(".differs") ?? undecided();
  move?.querySelector("textarea").focus();
}

/* Passages: the selected text in the abstract, and the number of visible characters before it. */

const visible = (text) => [...text.replace(/[\s\p{Cc}\p{Cf}]/gu, "")].length;

function remember() {
  const now = document.getSelection();
  const abstract = document.querySelector(".review .abstract p");
  if (!abstract || now.isCollapsed || !now.rangeCount) return;
  const range = now.getRangeAt(0);
  if (!abstract.contains(range.commonAncestorContainer)) return;
  const before = document.createRange();
  before.setStart(abstract, 0);
  before.setEnd(range.startContainer, range.startOffset);
  selection = { text: range.toString(), before: visible(before.toString()) };
}

document.addEventListener("selectionchange", remember);

function highlight(move) {
  remember(); // the selectionchange event may be late
  const details = move.querySelector("details.passage");
  const form = details.querySelector("form");
  if (visible(selection.text)) {
    form.elements.selected.value = selection.text;
    form.elements.before.value = selection.before;
    form.querySelector("[value=anchor]").click();
    return;
  }
  choose(move, false);
  details.open = true;
  form.elements.passage.focus();
}

for (const details of document.querySelectorAll("details.passage"))
  details.querySelector("summary").addEventListener("click", (event) => {
    event.preventDefault();
    if (details.open) details.open = false;
    else highlight(details.closest(".move"));
  });

/* Keyboard shortcuts, which are disabled in text fields. */

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  e: () => (chosen ? edit(chosen) : write()),
  n: () => chosen?.querySelector("[value=not-stated]").click(),
  t: () => chosen?.querySelector("[value=suggestion]")?.click(),
  h: () => chosen && highlight(chosen),
  "?": () => help?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || help?.open) return;
  if (event.target.closest("input:not([type=radio]), textarea, select")) {
    if (event.key === "Escape" && event.target.closest(".differs")) event.target.blur();
    else if (event.key === "Escape" && event.target.form?.closest("details")) {
      event.target.form.closest("details").open = false;
      choose(event.target.closest(".move"));
      event.target.blur();
    }
    return;
  }
  const key = event.key.toLowerCase();
  const pressed = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (KEYS[key]) KEYS[key]();
  else if (/^[1-9]$/.test(key) && moves[key - 1]) edit(moves[key - 1]);
  else if (/^[1-9]$/.test(key) && differing.length) side(key);
  else if (pressed) {
    pressed.click();
    pressed.closest("details")?.querySelector("input:not([type=hidden])")?.focus();
  } else return;
  event.preventDefault();
});

for (const move of moves) {
  move.addEventListener("pointerenter", () => mark([`move.${move.dataset.move}`]));
  move.addEventListener("pointerleave", markChosen);
  move.addEventListener("click", () => choose(move, false));
}
for (const place of places) {
  place.addEventListener("pointerenter", () => mark(namesOf(place)));
  place.addEventListener("pointerleave", markChosen);
}

/* The button that copies the command for training. */

for (const copy of document.querySelectorAll("[data-copy]")) {
  const line = copy.parentElement.querySelector("code");
  copy.hidden = false;
  copy.addEventListener("click", () =>
    navigator.clipboard.writeText(line.textContent).then(
      () => (copy.textContent = "Copied"),
      () => document.getSelection().selectAllChildren(line), // so that the user can copy it
    ),
  );
}

const button = document.getElementById("show-help");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
}
const unfinished = document.querySelector(".edit[open]");
if (unfinished) edit(unfinished.closest(".move"));
else choose(chosen);
