/* The page of a paper: a move marks what it comes from, and a sentence marks its moves. */

const moves = [...document.querySelectorAll("[data-move]")];
const places = [...document.querySelectorAll("[data-moves]")];
const namesOf = (place) => place.dataset.moves.split(" ");
let chosen = null;

/** Mark the moves of these names, and the sentences and passages that they come from. */
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

for (const place of places) place.tabIndex = 0;

for (const move of moves)
  move.addEventListener("click", () => {
    chosen = chosen === move ? null : move;
    for (const other of moves) other.setAttribute("aria-pressed", String(other === chosen));
    markChosen();
    const place = places.find((one) => one.classList.contains("marked"));
    if (chosen && place) place.scrollIntoView({ block: "nearest" });
  });
