/* The page of a paper: a move and the sentences that state this move highlight each other. */

const moves = [...document.querySelectorAll("[data-move]")];
const places = [...document.querySelectorAll("[data-moves]")];
const namesOf = (place) => place.dataset.moves.split(" ");
let chosen = null;

/** Highlight the moves with these names, and the sentences and passages that state them. */
function mark(names) {
  for (const move of moves) move.classList.toggle("marked", names.includes(move.dataset.move));
  for (const place of places)
    place.classList.toggle("marked", namesOf(place).some((name) => names.includes(name)));
}

const markChosen = () => mark(chosen ? [chosen.dataset.move] : []);

for (const [elements, names] of [[moves, (one) => [one.dataset.move]], [places, namesOf]])
  for (const one of elements) {
    for (const event of ["pointerenter", "focus"])
      one.addEventListener(event, () => mark(names(one)));
    for (const event of ["pointerleave", "blur"]) one.addEventListener(event, markChosen);
  }

for (const place of places) if (!place.matches("a")) place.tabIndex = 0;

/** Return the element to show for a move: its highlight if the PDF page is beside the moves, or else
 * its first sentence. */
function shownFor(name) {
  const found = places.filter((place) => namesOf(place).includes(name));
  const highlight = found.find((place) => place.matches(".sheet a"));
  const isBeside = highlight && getComputedStyle(highlight.closest(".sheet")).position === "sticky";
  return isBeside ? highlight : found[0];
}

const buttons = moves.filter((move) => move.matches("button"));
for (const move of buttons)
  move.addEventListener("click", () => {
    chosen = chosen === move ? null : move;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === chosen));
    markChosen();
    if (chosen) shownFor(move.dataset.move)?.scrollIntoView({ block: "nearest" });
  });
