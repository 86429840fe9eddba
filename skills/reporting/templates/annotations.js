/* Functions that all pages with annotations use. */

const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en");

/** Highlight the sentences and passages that state the move of `button`; null removes the highlights. */
function markSource(paper, button) {
  for (const other of paper.querySelectorAll("[data-move]"))
    other.setAttribute("aria-pressed", String(other === button));
  const places = [...paper.querySelectorAll("[data-moves]")];
  const isMarked = ({ dataset }) => dataset.moves.split(" ").includes(button?.dataset.move);
  for (const place of places) place.classList.toggle("marked", isMarked(place));
  for (const place of places.filter(isMarked).reverse()) place.scrollIntoView({ block: "nearest" });
}
