// Means over clips, mean curves, and every word of every clip, worst first.

const STEP = 25;  // rows that are listed at a time
const state = { kind: SHARED.kinds[0], metric: "ap", row: "", less: "", word: null, listed: STEP };
const entries = () => SHARED.entries.filter(entry => entry.kind === state.kind && (state.word === null || entry.word === state.word));
const rows = () => SHARED.rows.filter(row => Object.values(SHARED.means[state.kind]).some(means => row in means));
const KINDS = { motion: "motion words", concept: "nouns" }, SIGNED = ["temporal_correlation", "effect_rank"];

// the chosen score of an entry, or its difference; null where it is not defined
const metricAt = metric => SHARED.metrics.indexOf(metric);
const scoreOf = (entry, row) => entry.scores[row]?.[metricAt(state.metric)] ?? null;
const valueOf = entry => {
  const own = scoreOf(entry, state.row), other = state.less ? scoreOf(entry, state.less) : 0;
  return own === null || other === null ? null : own - other;
};
const mean = values => values.reduce((sum, x) => sum + x, 0) / values.length;
const shown = x => x === null ? "–" : (state.less && x > 0 ? "+" : "") + x.toFixed(3);

// a row keeps its colour; after the eighth, lines are dashed, and those of maps that need no model are grey
const coloured = SHARED.rows.filter(row => !SHARED.free.includes(row)), DASHES = ["none", "6 3", "2 3"];
const isFree = row => SHARED.free.includes(row);
const colourOf = row => isFree(row) ? "var(--soft)" : `var(--word-${coloured.indexOf(row) % 8})`;
const dashOf = row => DASHES[(isFree(row) ? SHARED.free.indexOf(row) : Math.floor(coloured.indexOf(row) / 8)) % DASHES.length];

const signed = () => SIGNED.some(name => state.metric.startsWith(name));
// from 0 to 1, or from -1 to 1
const across = wide => x => `${(100 * (wide ? (x + 1) / 2 : x)).toFixed(2)}%`;
const scale = (at, ...parts) => draw("svg", { "aria-hidden": "true" },
  draw("line", { x1: "0%", x2: "100%", y1: "50%", y2: "50%", stroke: "var(--line)" }),
  draw("line", { x1: at(0), x2: at(0), y1: "15%", y2: "85%", stroke: "var(--line)" }), ...parts);
const dot = (at, x, colour, r, opacity = 1) => draw("circle", { cx: at(x), cy: "50%", r, opacity, style: `fill: ${colour}` });
const swatch = row => draw("svg", { class: "line", viewBox: "0 0 24 8" }, draw("line", { x1: 0, x2: 24, y1: 4, y2: 4, style: `stroke: ${colourOf(row)}; stroke-width: 3; stroke-dasharray: ${dashOf(row)}` }));

const listMeans = () => {
  const means = SHARED.means[state.kind][state.metric] ?? {};
  const sorted = Object.entries(means).sort(([, a], [, b]) => b[0] - a[0]), at = across(signed());
  byId("means").replaceChildren(...sorted.map(([row, [value, low, high, clips]]) => {
    const button = make("button", { class: "entry", "aria-pressed": row === state.row },
      make("span", {}, swatch(row), row, make("small", {}, ` ${counted(clips, "clip")}`)),
      scale(at, ...low === null ? [] : [draw("line", { x1: at(low), x2: at(high), y1: "50%", y2: "50%", style: `stroke: ${colourOf(row)}; stroke-width: 5; opacity: .4` })], dot(at, value, colourOf(row), 4)),
      make("output", {}, value.toFixed(3), ...low === null ? [] : [make("small", {}, ` [${low.toFixed(2)}, ${high.toFixed(2)}]`)]));
    button.addEventListener("click", () => { byId("row").value = state.row = row; redraw(); });
    return button;
  }));
};

// lines: { row, values, low, high, colour, dash }; the chosen row is bold and has its interval
const plot = (xs, lines, { left, bottom, from, to, ticks, marks = [], shade = [], begins = null }) => {
  const width = 420, height = 250, x0 = 44, y0 = height - 36;
  const x = value => x0 + (width - x0 - 10) * (value - xs[0]) / (xs.at(-1) - xs[0] || 1), y = value => y0 - (y0 - 10) * (value - from) / (to - from);
  const known = line => range(xs.length).filter(i => line.values[i] !== null);
  const points = (line, values) => known(line).map(i => `${x(xs[i]).toFixed(1)},${y(values[i]).toFixed(1)}`);
  const bold = line => line.row === state.row;
  const drawn = [...lines].sort((a, b) => bold(a) - bold(b)).flatMap(line => [
    ...line.low && bold(line) ? [draw("polygon", { points: [...points(line, line.high), ...points(line, line.low).reverse()].join(" "), style: `fill: ${line.colour}; opacity: .2` })] : [],
    draw("polyline", { points: points(line, line.values).join(" "), style: `fill: none; stroke: ${line.colour}; stroke-width: ${line.wide ?? (bold(line) ? 2.6 : 1.1)}; stroke-dasharray: ${line.dash}; opacity: ${bold(line) || line.wide ? 1 : .55}` },
      draw("title", {}, line.row))]);
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" },
    ...shade.map(([a, b]) => draw("rect", { class: "moving", x: x(a), y: 10, width: Math.max(2, x(b) - x(a)), height: y0 - 10, style: "fill: var(--soft); opacity: .16" })),
    ...begins === null ? [] : [draw("line", { x1: x(begins), x2: x(begins), y1: 10, y2: y0, stroke: "var(--line)" })],
    draw("path", { d: `M${x0} 10V${y0}H${width - 10}`, style: "fill: none; stroke: var(--line)" }),
    ...ticks.flatMap(value => [draw("text", { x: x0 - 6, y: y(value) + 4, "text-anchor": "end" }, `${value}`)]),
    ...marks.map(value => draw("text", { x: x(value), y: y0 + 16, "text-anchor": "middle" }, `${value}`)),
    draw("text", { x: (x0 + width) / 2, y: height - 4, "text-anchor": "middle" }, bottom),
    draw("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(11 ${y0 / 2}) rotate(-90)` }, left),
    ...drawn);
};
const figure = (caption, drawing) => make("figure", {}, make("figcaption", {}, caption), drawing);
const line = (row, values, low, high) => ({ row, values, low, high, colour: colourOf(row), dash: dashOf(row) });
const TENTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];
const precisions = lines => plot(SHARED.recalls, lines, { left: "precision", bottom: "recall of true cells", from: 0, to: 1, ticks: TENTHS, marks: [0.2, 0.4, 0.6, 0.8, 1] });
const reach = lines => lines.flatMap(one => [...one.values, ...one.row === state.row ? [...one.low ?? [], ...one.high ?? []] : []]).filter(value => value !== null);
const times = (xs, lines, more) => {
  const values = reach(lines), from = Math.min(-1, ...values), to = Math.max(1, ...values);
  return plot(xs, lines, { left: "energy, standardized", from, to, ticks: range(9).map(i => i - 4).filter(i => i >= from && i <= to), ...more });
};

const drawCurves = () => {
  const precision = Object.entries(SHARED.precision[state.kind]).map(([row, curve]) => line(row, ...curve));
  const parts = [figure("Precision and recall of cells, mean over clips; the interval is that of the chosen map", precisions(precision))];
  const onset = Object.entries(SHARED.onset).map(([row, curve]) => line(row, ...curve));
  if (state.kind === "motion" && onset.length) {
    const seen = range(SHARED.onset_moving.length).filter(i => SHARED.onset_moving[i] !== null), part = values => seen.map(i => values[i]);
    const xs = seen.map(i => i - SHARED.reach), cut = onset.map(one => ({ ...one, values: part(one.values), low: part(one.low), high: part(one.high) }));
    const truth = { row: "truth", values: part(SHARED.onset_moving), colour: "var(--ink)", dash: "2 4", wide: 2 };
    parts.push(figure("When: energy of the map around the frame in which the motion begins, mean over clips; dotted: the truth",
      times(xs, [...cut, truth], { bottom: "latent frames from the beginning of the motion", marks: xs.filter(x => x % 2 === 0), begins: 0 })));
  }
  byId("curves").replaceChildren(make("h2", {}, "Curves"), make("div", { class: "plots" }, ...parts));
};

const listWords = () => {
  const words = new Map(), all = SHARED.entries.filter(entry => entry.kind === state.kind);
  for (const entry of all) { const value = valueOf(entry); if (value !== null) words.set(entry.word, [...words.get(entry.word) ?? [], value]); }
  const at = across(signed() || state.less), sorted = [...words].map(([word, values]) => [word, values, mean(values)]).sort((a, b) => a[2] - b[2]);
  byId("words").replaceChildren(...sorted.map(([word, values, average]) => {
    const button = make("button", { class: "entry", "aria-pressed": word === state.word }, make("span", {}, word, make("small", {}, ` ${counted(values.length, "clip")}`)),
      scale(at, ...values.map(value => dot(at, value, colourOf(state.row), 2.5, .35)), dot(at, average, "var(--ink)", 4)), make("output", {}, shown(average)));
    button.addEventListener("click", () => { state.word = state.word === word ? null : word; state.listed = STEP; redraw(); });
    return button;
  }));
};

// the film of a row: a part of the sample's picture, each cell many pixels large; "" is the truth
const filmOf = (entry, row) => {
  const [frames, high, wide] = entry.film, all = Math.max(...SHARED.entries.filter(x => x.sample === entry.sample).flatMap(x => Object.values(x.films))) + 1;
  const place = entry.films[row], film = make("div", { class: "film", role: "img", "aria-label": row || "truth" });
  film.style.aspectRatio = `${frames * wide} / ${high}`;
  film.style.backgroundImage = `url("${SHARED.folder}/${encodeURIComponent(entry.sample)}.png")`;
  film.style.backgroundSize = `100% ${100 * all}%`;
  film.style.backgroundPosition = `0 ${all > 1 ? 100 * place / (all - 1) : 0}%`;
  film.append(...range(frames - 1).map(i => make("i", { style: `left: ${100 * (i + 1) / frames}%` })));
  return film;
};

// a word of a clip, opened: its curves, and the pictures of the clip
const opened = entry => {
  const lines = key => Object.entries(entry[key]).map(([row, values]) => line(row, values));
  const frames = Object.values(entry.energy)[0]?.length ?? 0, moving = entry.moving ?? [];
  const shade = range(frames).filter(f => moving[f]).map(f => [f - 0.5, f + 0.5].map(x => Math.min(frames - 1, Math.max(0, x))));
  const parts = [figure("Precision and recall of cells", precisions(lines("precision"))),
    figure(entry.moving ? "Energy of the map; shaded: the frames that move" : "Energy of the map",
      times(range(frames), lines("energy"), { bottom: "latent frame", marks: range(frames).filter(f => f % Math.ceil(frames / 8) === 0), shade }))];
  const scores = SHARED.metrics.map((metric, i) => [metric, entry.scores[state.row]?.[i] ?? null]).filter(([, value]) => value !== null);
  const shownRows = ["", state.row, ...state.less ? [state.less] : []].filter(row => row in entry.films);
  const films = shownRows.map(row => figure(row ? `${row}, scaled over the video` : `where “${entry.word}” is true`, filmOf(entry, row)));
  return make("div", { class: "open" }, make("div", { class: "plots" }, ...parts), ...films,
    make("p", { class: "about" }, `${entry.sample}, scores of ${state.row}:`),
    make("dl", { class: "scores-of" }, ...scores.map(([metric, value]) => make("div", { title: SHARED.definitions[metric] ?? "" }, make("dt", {}, metric), make("dd", {}, value.toFixed(3))))));
};

const listClips = () => {
  const all = entries().map(entry => [entry, valueOf(entry)]), known = all.filter(([, value]) => value !== null).sort((a, b) => a[1] - b[1]);
  const rest = all.length - known.length, of = state.word === null ? `${counted(known.length, "word")} of clips` : `${counted(known.length, "clip")} with “${state.word}”`;
  const at = across(signed() || state.less);
  byId("listed").textContent = `${of}, worst first${rest ? `; ${rest} without this score` : ""}; click to open`;
  byId("clips").replaceChildren(...known.slice(0, state.listed).flatMap(([entry, value]) => {
    const button = make("button", { class: "entry clip", "aria-expanded": false },
      make("span", { title: entry.caption }, make("b", {}, entry.word), make("small", {}, ` ${entry.caption}`)), scale(at, dot(at, value, colourOf(state.row), 4)), make("output", {}, shown(value)));
    const holder = make("div");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "false";
      button.setAttribute("aria-expanded", open);
      holder.replaceChildren(...open ? [opened(entry)] : []);
    });
    return [button, holder];
  }));
  byId("more").hidden = known.length <= state.listed;
};

const choose = (id, values, names = values) => {
  byId(id).replaceChildren(...values.map((value, i) => make("option", { value }, names[i])));
  if (!values.includes(state[id])) state[id] = values[0];
  byId(id).value = state[id];
};
const redraw = () => {
  const metrics = Object.keys(SHARED.means[state.kind]);
  choose("kind", SHARED.kinds, SHARED.kinds.map(kind => KINDS[kind]));
  choose("metric", metrics);
  choose("row", rows());
  choose("less", ["", ...rows().filter(row => row !== state.row)], ["nothing", ...rows().filter(row => row !== state.row)]);
  byId("definition").textContent = `${state.metric}: ${SHARED.definitions[state.metric] ?? ""}. Higher is better.${/^[jf]/.test(state.metric) ? " A map that finds nothing is right where the thing is not: compare with uniform." : ""}`;
  byId("sorted").textContent = state.less ? `${state.row} less ${state.less}, ` : "";
  const clips = new Set(SHARED.entries.map(entry => entry.sample)).size;
  byId("count").textContent = `${counted(clips, "clip")}, ${entries().length} ${KINDS[state.kind]}`;
  listMeans(); drawCurves(); listWords(); listClips();
};
for (const id of ["kind", "metric", "row", "less"]) byId(id).addEventListener("change", event => {
  state[id] = event.target.value;
  if (id === "kind") state.word = null;
  state.listed = STEP;
  redraw();
});
byId("more").addEventListener("click", () => { state.listed += STEP; listClips(); });
redraw();
