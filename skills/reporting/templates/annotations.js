/* What pages with annotations share. */

const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en");

/** Mark the sentence that the move of `button` is nearest to, or none. */
function markSource(paper, button) {
  for (const other of paper.querySelectorAll("[data-source]"))
    other.setAttribute("aria-pressed", String(other === button));
  const source = button ? Number(button.dataset.source) : -1;
  paper.querySelectorAll(".sentence").forEach((sentence, i) => {
    sentence.classList.toggle("marked", i === source);
    if (i === source) sentence.scrollIntoView({ block: "nearest" });
  });
}
