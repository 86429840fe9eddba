/* Elements. All that the page shows is made here: data goes in as text, never as markup. */

const SVG = document.querySelector("svg").namespaceURI;
const byId = (id) => document.getElementById(id);

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
}

/** An element. Attributes that are functions listen: {onclick: ...}; children may be text. */
function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of a drawing. */
function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Text for screen readers alone. */
const unseen = (text) => h("span", { class: "unseen" }, text);

const percent = (share) => (share == null ? "–" : `${Math.round(share * 100)}%`);
const grouped = (number) => number.toLocaleString("en");
const counted = (number, one, many = `${one}s`) =>
  `${grouped(number)} ${number === 1 ? one : many}`;

/** An id, as a link to arXiv where it is one of theirs: the only address the page ever names. */
function idLink(paper, attributes = {}) {
  if (!paper.arxiv) return h("span", { class: "id", dir: "auto" }, paper.id);
  const href = `https://arxiv.org/abs/${encodeURI(paper.id)}`;
  const given = { class: "id", href, target: "_blank", rel: "noopener noreferrer", ...attributes };
  return h("a", given, paper.id);
}

/** Run at most once for each frame, with the last state of things. */
function coalesced(run) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      run();
    });
  };
}
