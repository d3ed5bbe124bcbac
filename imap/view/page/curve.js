// When: how strong each word is in each frame.

// pixels that a text takes in a curve where it is bold
const ruler = new OffscreenCanvas(1, 1).getContext("2d");
ruler.font = `700 12px ${getComputedStyle(document.body).fontFamily}`;
const wide = text => Math.ceil(ruler.measureText(text).width);
const cut = text => text.length > 14 ? text.slice(0, 13) + "…" : text;
const TOP = 8, LINE = 14, LOWEST = 120, BAR = 6;  // pixels: above the curve, of a label, of the curve's height at least, of a bar's row

// runs of latent frames in which a word is above the middle between its lowest and its highest mean
const onIn = means => {
  const middle = (Math.min(...means) + Math.max(...means)) / 2, runs = [];
  means.forEach((mean, f) => {
    if (mean <= middle) return;
    if (f && means[f - 1] > middle) runs.at(-1)[1] = f; else runs.push([f, f]);
  });
  return runs;
};

// seconds below the curve: four or five of them
const timeAxis = (times, across, bottom) => {
  const start = times[0], end = times.at(-1), length = end - start;
  const every = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60].find(x => length / x <= 4.5) ?? (length || 1), digits = every < 0.1 ? 2 : 1;
  const first = Math.ceil(start / every - 1e-6), ticks = range(Math.floor(end / every + 1e-6) - first + 1).map(i => (first + i) * every);
  return ticks.flatMap(x => [
    draw("line", { x1: across(x), x2: across(x), y1: bottom, y2: bottom + 3, stroke: "var(--soft)" }),
    draw("text", { x: across(x), y: bottom + 16, "text-anchor": "middle" }, `${+x.toFixed(digits)} s`)]);
};

// lines: { name, colour, dash, values by frame, on: [first, last] frames, peak: a frame or null, strong, weak }; times: of the frames.
// fromZero: the axis begins at zero or below. Returns the parts of the drawing, its height, and where a frame lies.
const curveOf = (lines, fromZero, times, frame, width) => {
  const all = lines.flatMap(line => line.values), low = Math.min(...all, ...fromZero ? [0] : []), high = Math.max(...all);
  const left = 6 + Math.max(wide("0.5 s") / 2, ...[low, high].map(x => wide(number(x)))), right = width - 12 - Math.max(...lines.map(line => wide(cut(line.name))));
  const bottom = TOP + Math.max(LOWEST, LINE * (lines.length - 1));
  const across = x => left + (right - left) * (x - times[0]) / (times.at(-1) - times[0] || 1), at = f => across(times[f]);
  const down = x => high > low ? bottom - (bottom - TOP) * (x - low) / (high - low) : (TOP + bottom) / 2;
  const points = (line, from, to) => range(to - from + 1).map(i => `${at(from + i).toFixed(1)},${down(line.values[from + i]).toFixed(1)}`).join(" ");
  const style = line => ({ stroke: line.colour, fill: "none", "stroke-width": line.strong ? 2.2 : 1.4, opacity: line.weak ? 0.55 : 1, "stroke-dasharray": line.dash });
  // labels are at the ends of their lines, or as near as the others let them
  const ends = lines.map(line => [down(line.values.at(-1)), line]).sort((a, b) => a[0] - b[0]), ys = [];
  ends.forEach(([y], i) => ys.push(Math.max(y, i ? ys[i - 1] + LINE : TOP)));
  for (let i = ys.length - 1, most = bottom; i >= 0; i--, most -= LINE) ys[i] = Math.min(ys[i], most);
  const moving = lines.filter(line => line.on.length), foot = bottom + 3 + BAR * moving.length;
  const shades = moving.filter(line => line.strong).flatMap(line => line.on.map(([from, to]) =>
    draw("polygon", { fill: line.colour, opacity: 0.16, points: `${at(from).toFixed(1)},${bottom} ${points(line, from, to)} ${at(to).toFixed(1)},${bottom}` })));
  const bars = moving.flatMap((line, i) => line.on.map(([from, to]) =>
    draw("rect", { class: "on", x: at(from), y: bottom + 3 + BAR * i, width: Math.max(2, at(to) - at(from)), height: BAR - 2, rx: 1, fill: line.colour, opacity: line.weak ? 0.55 : 1 },
      draw("title", {}, `“${line.name}” is on from ${times[from].toFixed(2)} to ${times[to].toFixed(2)} s`))));
  const drawn = ends.flatMap(([end, line], i) => [
    draw("polyline", { points: points(line, 0, times.length - 1), ...style(line) }),
    draw("path", { d: `M${right} ${end.toFixed(1)}L${right + 7} ${ys[i].toFixed(1)}`, stroke: line.colour, opacity: 0.7 }),
    draw("text", { x: right + 10, y: ys[i] + 4, style: `fill: ${line.colour}; font-weight: ${line.strong ? 700 : 400}` }, cut(line.name), draw("title", {}, line.name))]);
  const peaks = lines.filter(line => line.peak !== null).map(line =>
    draw("circle", { class: "peak", cx: at(line.peak), cy: down(line.values[line.peak]), r: line.strong ? 4 : 3, style: `fill: ${line.colour}; stroke: var(--card)` },
      draw("title", {}, `“${line.name}” peaks at ${times[line.peak].toFixed(2)} s, frame ${line.peak}`)));
  const parts = [
    ...shades, ...bars,
    ...[[high, TOP], [low, bottom]].map(([x, y]) => draw("text", { x: left - 5, y: y + 4, "text-anchor": "end" }, number(x))),
    ...[TOP, bottom].map(y => draw("line", { x1: left, x2: right, y1: y, y2: y, stroke: "var(--line)" })),
    draw("line", { class: "now", x1: at(frame), x2: at(frame), y1: TOP, y2: bottom, stroke: "var(--ink)" }),
    ...timeAxis(times, across, foot), ...drawn, ...peaks];
  return { parts, height: foot + 20, at };
};
