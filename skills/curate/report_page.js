/* Show lists of annotations in steps, and only the annotations with a selected reason. */

const STEP = 25;

/** Show the first annotations of a list that `wanted` accepts, and a button that shows more. */
function showList(list, wanted = () => true) {
  const all = [...list.children];
  const chosen = all.filter(wanted);
  const status = list.previousElementSibling;
  const more = list.nextElementSibling;
  let shown = 0;
  const show = () => {
    shown = Math.min(shown + STEP, chosen.length);
    const visible = new Set(chosen.slice(0, shown));
    for (const row of all) row.hidden = !visible.has(row);
    status.textContent = `${grouped(shown)} of ${grouped(chosen.length)} shown.`;
    more.hidden = shown === chosen.length;
    more.textContent = `Show ${Math.min(chosen.length - shown, STEP)} more`;
  };
  more.onclick = () => {
    const next = chosen[shown];
    show();
    next.querySelector("summary").focus();
  };
  show();
}

for (const list of document.querySelectorAll(".rows")) showList(list);
const reason = byId("reason");
if (reason) {
  reason.closest("p").hidden = false;
  reason.addEventListener("change", () => {
    byId("meaning").textContent = reason.selectedOptions[0].title;
    const wanted = (row) => !reason.value || row.dataset.reasons.split(" ").includes(reason.value);
    showList(byId("refused"), wanted);
  });
}
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-move]");
  if (!button) return;
  const pressed = button.getAttribute("aria-pressed") === "true";
  markSource(button.closest(".body"), pressed ? null : button);
});
