/* Papers that have no annotation, by the type of the error. */

const AT_ONCE = 100; // failures of a type that are shown before more are asked for

function buildFailures() {
  const groups = new Map();
  for (const failure of failures) {
    if (!groups.has(failure.error_type)) groups.set(failure.error_type, []);
    groups.get(failure.error_type).push(failure);
  }
  const ordered = [...groups].sort((a, b) => b[1].length - a[1].length);
  const sections = ordered.map(([type, members]) => failureGroup(type, members));
  const none = h("p", { class: "empty" }, "Every paper has its annotation.");
  byId("failures-view").append(h("div", { class: "failures" }, sections.length ? sections : none));
}

function failureGroup(type, members) {
  const list = h("ol", {});
  const later = members.filter((failure) => failure.retryable).length;
  const note = later ? `${grouped(later)} may succeed when tried again.` : "";
  const heading = h(
    "h2",
    {},
    h("code", {}, type),
    h("span", { class: "count" }, grouped(members.length)),
  );
  const more = h("button", { type: "button", class: "clear" });
  let shown = 0;
  const show = () => {
    const next = members.slice(shown, shown + AT_ONCE);
    list.append(...next.map(failureEntry));
    shown += next.length;
    more.textContent = `Show more of the ${grouped(members.length - shown)} others`;
    more.hidden = shown === members.length;
  };
  more.addEventListener("click", show);
  show();
  return h("section", {}, heading, note && h("p", { class: "note" }, note), list, more);
}

function failureEntry(failure) {
  const reply = failure.raw_reply
    ? h(
        "details",
        {},
        h("summary", {}, "The model's last answer"),
        h("pre", { dir: "auto", tabindex: 0 }, failure.raw_reply),
      )
    : null;
  return h(
    "li",
    {},
    h("p", { class: "title", dir: "auto" }, failure.title || "Without title", " ", idLink(failure)),
    h("p", { class: "reason", dir: "auto" }, failure.reason),
    reply,
  );
}
