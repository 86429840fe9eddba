/* All pages: the progress of running jobs, keyboard shortcuts, and facets, which are closed on phones. */

const link = document.getElementById("live");
const gone = document.getElementById("gone");
let running = null;
let source = null;

/** Return the progress of a job as one line. */
function described({ skill, input, done, failed, due }) {
  const line = `/${skill} ${input}`.trim();
  if (due === null && !done) return `${line}: running`; // the skill does not count its work
  const of = due === null ? "" : ` of ${due.toLocaleString("en")}`;
  const lost = failed ? `, ${failed.toLocaleString("en")} failed` : "";
  return `${line}: ${done.toLocaleString("en")}${of} done${lost}`;
}

/** Show the running jobs; reload the page of jobs when a job has begun or ended. */
function show(jobs) {
  const alive = jobs.filter((job) => job.is_alive);
  link.hidden = !alive.length;
  link.textContent = alive.map(described).join(" · ");
  const numbers = alive.map((job) => job.run).join();
  if (running !== null && running !== numbers && location.pathname === "/jobs") location.reload();
  running = numbers;
  for (const job of jobs) {
    const cells = document.querySelectorAll(`[data-run="${job.run}"] [data-name]`);
    for (const cell of cells)
      if (cell.dataset.name !== "state")
        cell.textContent = job[cell.dataset.name]?.toLocaleString("en") ?? "";
  }
}

/* Only a visible page keeps a connection open, since browsers allow six connections to a server. */
function connect() {
  source?.close();
  source = null;
  if (document.hidden) return;
  source = new EventSource("/jobs/events");
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onopen = () => (gone.hidden = true);
  source.onerror = () => (gone.hidden = false);
}

document.addEventListener("visibilitychange", connect);
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", connect);

if (matchMedia("(max-width: 48rem)").matches)
  for (const facets of document.querySelectorAll("details.facets")) facets.open = false;

/** Move the focus to the next or previous link of a list of papers. */
function step(by) {
  const links = [...document.querySelectorAll(".papers h2 a")];
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

const help = document.getElementById("help");
for (const button of document.querySelectorAll(".show-help")) {
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.defaultPrevented || help.open) return; // a script of the page has handled the key
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  const search = document.getElementById("q");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "?") help.showModal();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
});
