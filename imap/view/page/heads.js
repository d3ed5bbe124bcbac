// Which heads are motion heads, by layer and step.

// layers down, steps across; in each cell a place for every head, in rows, and marks at those that were chosen
const headPicture = ({ layers, steps, count, chosen }, room) => {
  const left = 46, top = 30, step = Math.max(6, Math.floor((room - left - 14) / Math.max(steps.length, 1))), gap = step > 12 ? 3 : 1;
  const cell = mark => { const columns = Math.max(1, Math.min(count, Math.floor((step - gap) / mark))); return { mark, columns, rows: Math.ceil(count / columns) }; };
  // all heads in one row where that can be read, else marks as large as a picture of 320 pixels can have
  const inRow = cell(Math.min(12, Math.floor((step - gap) / count))), sizes = [8, 7, 6, 5, 4, 3].map(cell);
  const { mark, columns, rows } = inRow.mark >= 4 ? inRow : sizes.find(x => (x.rows * x.mark + 3) * layers.length <= 320) ?? cell(2);
  const tall = rows === 1 ? Math.max(9, mark) : mark, apart = rows === 1 ? 1 : 3;
  const w = columns * mark + gap, h = rows * tall + apart, width = left + w * steps.length, height = h * layers.length;
  const every = (cell, need) => Math.max(1, Math.ceil(need / cell));
  const label = (x, y, text, anchor) => draw("text", { x, y, "text-anchor": anchor }, text);
  const square = (l, s, head) => `M${left + s * w + head % columns * mark} ${l * h + Math.floor(head / columns) * tall}h${mark}v${tall}h-${mark}z`;
  const all = (from, to) => chosen.flatMap((ofStep, l) => ofStep.flatMap((heads, s) => heads.slice(from, to).map(head => square(l, s, head)))).join("");
  const outline = draw("rect", { class: "at", width: w - gap + 2, height: h - apart + 2, visibility: "hidden" });
  const cells = draw("svg", { class: "cells", viewBox: `0 0 ${width + 2} ${height}`, width: width + 2, height, tabindex: 0, role: "img", "aria-label": "motion heads by layer and step; arrow keys read it cell by cell" },
    draw("path", { class: "cell", d: layers.flatMap((_, l) => steps.map((_, s) => `M${left + s * w} ${l * h}h${w - gap}v${h - apart}h-${w - gap}z`)).join("") }),
    draw("path", { class: "other", d: all(1) }), draw("path", { class: "best", d: all(0, 1) }), outline,
    ...layers.flatMap((layer, l) => l % every(h, 11) ? [] : [label(left - 4, l * h + Math.min(h / 2 + 3, 9), layer, "end")]),
    draw("text", { class: "name", x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${Math.min(height / 2, 150)}) rotate(-90)` }, "Layer"));
  const axis = draw("svg", { class: "axis", viewBox: `0 0 ${width + 2} ${top}`, width: width + 2, height: top }, label(left, 11, "Denoising step", "start"),
    ...steps.flatMap((step, s) => s % every(w, 20) ? [] : [label(left + s * w + (w - gap) / 2, 26, step, "middle")]));
  const reading = make("p", { class: "about reading", "aria-live": "polite" }, "Point at a cell or tap it to read its heads. Arrow keys move through the cells.");
  let at = [0, 0];
  const read = (l, s) => {
    at = [Math.min(layers.length - 1, Math.max(0, l)), Math.min(steps.length - 1, Math.max(0, s))];
    const heads = chosen[at[0]][at[1]];
    reading.textContent = `Layer ${layers[at[0]]}, step ${steps[at[1]]}: ` + (heads.length ? `heads ${heads.join(", ")} of 0 to ${count - 1}, best first` : "no motion head");
    for (const [name, value] of Object.entries({ x: left + at[1] * w - 1, y: at[0] * h - 1, visibility: "visible" })) outline.setAttribute(name, value);
  };
  const pointed = event => {
    const box = cells.getBoundingClientRect(), scale = (width + 2) / box.width;
    read(Math.floor((event.clientY - box.top) * scale / h), Math.floor(((event.clientX - box.left) * scale - left) / w));
  };
  for (const kind of ["pointermove", "pointerdown", "click"]) cells.addEventListener(kind, pointed);
  cells.addEventListener("focus", () => { if (cells.matches(":focus-visible")) read(...at); });
  cells.addEventListener("keydown", event => {
    const [l, s] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (l === undefined) return;
    event.preventDefault(); event.stopPropagation();  // the arrows of a card are for frames and words
    read(at[0] + l, at[1] + s);
  });
  const order = columns === count ? "from left to right" : columns === 1 ? "from top to bottom" : `${columns} in a row`;
  const key = ["Each cell holds heads 0 to ", count - 1, `, ${order}: `, make("b", { class: "best" }, "the best"), " motion head, by its separability score, and ",
    make("b", { class: "other" }, "the other"), " motion heads."];
  return [make("p", { class: "about" }, ...key), reading, make("div", { class: "box" }, axis, cells)];
};
