/* The filter box: every word must begin a word of the paper, and quotes keep words together. */

const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;

/** Lower case without accents, every run of other than letters and digits one blank. */
function fold(text) {
  if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase().replace(/[^a-z0-9]+/g, " ");
  const bare = text.normalize("NFKD").replace(/\p{M}+/gu, "");
  return bare.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ");
}

/** All that is searched of a paper, folded when it is first asked for. */
function haystack(paper) {
  if (paper.folded === undefined) {
    const texts = moves.map((_, move) => textOf(paper, move) ?? "");
    const all = [paper.id, paper.title, paper.authors, ...paper.sentences, ...texts];
    paper.folded = ` ${all.map(fold).join(" \n ")} `; // no phrase runs over an end of line
  }
  return paper.folded;
}

/** What a query looks for in a haystack: 'agent "tool use"' as [" agent", " tool use "]. */
function needles(query) {
  const found = [];
  for (const [, phrase, closed, word] of query.matchAll(/"([^"]*)("?)|([^\s"]+)/g)) {
    const folded = fold(phrase ?? word).trim();
    if (!folded) continue;
    if (UNSPACED.test(folded)) found.push(folded);
    else found.push(` ${folded}${closed ? " " : ""}`);
  }
  return found;
}

/** Fold the papers while nobody waits, so that the first letter typed costs nothing. */
function foldAhead(from = 0) {
  const until = Math.min(from + 200, papers.length);
  for (let i = from; i < until; i += 1) haystack(papers[i]);
  if (until < papers.length) setTimeout(foldAhead, 0, until);
}
