/* Drawings: shares with their intervals, and columns. Each is as wide as its place on the page. */

const LINE = 26; // height of one line of a drawing of shares
const AXIS = 22; // height of the axis below

/** Room for labels of these lengths, in the font of the drawings. */
const labelRoom = (labels) =>
  Math.min(180, 18 + 6.6 * Math.max(...labels.map((label) => label.length)));

/**
 * One line for each share: a dot, its 95% interval, and the share that all papers have.
 *
 * @param lines [{label, stated: share, all: share or null}, ...]
 */
function drawShares(lines, width, name) {
  const left = labelRoom(lines.map((line) => line.label));
  const right = 90;
  const room = Math.max(60, width - left - right);
  const x = (value) => left + value * room;
  const height = lines.length * LINE + AXIS;
  const drawing = picture(width, height, name);
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    drawing.append(
      s("line", { class: "rule", x1: x(tick), x2: x(tick), y1: 0, y2: height - AXIS }),
      s(
        "text",
        { class: "tick", x: x(tick), y: height - 6, "text-anchor": "middle" },
        percent(tick),
      ),
    );
  }
  lines.forEach((line, i) => drawing.append(...shareLine(line, i * LINE + LINE / 2, x, width)));
  return drawing;
}

function shareLine({ label, stated, all }, y, x, width) {
  const parts = [s("text", { class: "label", x: 0, y: y + 4 }, label)];
  if (all?.value != null)
    parts.push(
      s("line", { class: "all", x1: x(all.value), x2: x(all.value), y1: y - 8, y2: y + 8 }),
    );
  if (stated.value != null) {
    parts.push(
      s("line", { class: "interval", x1: x(stated.low), x2: x(stated.high), y1: y, y2: y }),
      s("circle", { class: "dot", cx: x(stated.value), cy: y, r: 4.5 }),
    );
  }
  const said = `${grouped(stated.count)} of ${grouped(stated.of)}`;
  parts.push(s("text", { class: "value", x: width, y: y + 4, "text-anchor": "end" }, said));
  return parts;
}

/**
 * Columns; `bars` is [{label, count, tick: whether the label is shown}, ...].
 *
 * @param end the label of the last edge, where labels name the left edges of columns
 */
function drawColumns(bars, width, name, end = "") {
  const height = 190;
  const top = 20;
  const base = height - AXIS;
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  const step = width / Math.max(bars.length, 4);
  const thick = Math.min(46, step - Math.min(6, step / 4));
  const drawing = picture(width, height, name);
  drawing.append(s("line", { class: "rule", x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5 }));
  bars.forEach((bar, i) => {
    const middle = i * step + step / 2;
    const tall = bar.count ? Math.max(1.5, ((base - top) * bar.count) / most) : 0;
    drawing.append(
      s("rect", {
        class: "column",
        x: middle - thick / 2,
        y: base - tall,
        width: thick,
        height: tall,
      }),
    );
    if (bar.count && step > 22) {
      drawing.append(
        s(
          "text",
          { class: "value", x: middle, y: base - tall - 5, "text-anchor": "middle" },
          grouped(bar.count),
        ),
      );
    }
    if (bar.tick)
      drawing.append(
        s(
          "text",
          {
            class: "tick",
            x: end ? i * step : middle,
            y: height - 6,
            "text-anchor": end && !i ? "start" : "middle",
          },
          bar.label,
        ),
      );
  });
  if (end)
    drawing.append(
      s("text", { class: "tick", x: width, y: height - 6, "text-anchor": "end" }, end),
    );
  return drawing;
}

function picture(width, height, name) {
  return s("svg", {
    role: "img",
    "aria-label": name,
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
  });
}
