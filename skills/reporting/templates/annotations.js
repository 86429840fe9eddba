/* What pages with annotations share. */

const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en");

/** Mark the sentences that the move of `button` comes from, or none. */
function markSource(paper, button) {
  for (const other of paper.querySelectorAll("[data-sources]"))
    other.setAttribute("aria-pressed", String(other === button));
  const sources = button ? button.dataset.sources.split(" ") : [];
  const sentences = [...paper.querySelectorAll(".sentence")];
  const marked = sentences.filter((_, i) => sources.includes(String(i + 1)));
  for (const sentence of sentences) sentence.classList.toggle("marked", marked.includes(sentence));
  for (const sentence of marked.reverse()) sentence.scrollIntoView({ block: "nearest" });
}
