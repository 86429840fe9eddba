/* Open the closed <details> elements that contain the target of a link, such as the papers of a cell. */

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let one = target.closest("details"); one; one = one.parentElement.closest("details"))
    one.open = true;
  target.scrollIntoView({ block: "start" });
  (target.querySelector(":scope > summary") ?? target).focus({ preventScroll: true });
}

addEventListener("hashchange", reveal);
addEventListener("click", ({ target }) => {
  const link = target.closest("a[href^='#']");
  if (link && link.hash === location.hash) reveal(); // a repeated click causes no hashchange
});
reveal();
