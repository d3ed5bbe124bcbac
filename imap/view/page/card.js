// One sample: its video and maps, which play together, and what is known of them.

const ALL = -1;  // in place of a word: all of them
const GAP = 8, LABEL = 24, LEAST = 130;  // pixels: between panels, of a label, and of a panel's width unless it is alone in its row

class Card {
  constructor(script) {
    this.script = script;
    this.name = script.dataset.caption || script.dataset.name;
    this.root = make("article", { tabindex: 0, "aria-label": this.name }, make("h2", {}, script.dataset.caption + " ", make("small", {}, script.dataset.name)));
    this.frame = 0; this.text = ALL; this.timer = null; this.loaded = null; this.patch = null; this.tapped = false;
    this.root.addEventListener("keydown", event => this.keyed(event));
  }
  load() { return this.loaded ??= this.show().catch(error => this.fail(error.message)); }
  // the decoded frames and the canvases are most of a card's memory: it has them while it is near
  release() {
    this.stop();
    this.loaded = this.video = null;
    for (const { screen } of this.panels ?? []) screen.width = screen.height = 0;
  }
  async show() {
    const data = JSON.parse(this.script.textContent);
    if (data.problem) return this.fail(data.problem);
    const video = await image(data.video.source);
    await (this.built ??= this.build(data));
    if (!this.loaded) return;
    this.video = video;
    for (const { screen } of this.panels) [screen.width, screen.height] = this.size;
    this.draw();
  }
  fail(why) {
    this.root.className = "problem";
    this.root.replaceChildren(this.root.querySelector("h2"), make("p", {}, "This sample cannot be shown: " + why));
  }
  async build(d) {
    d = this.sample = await Sample.of(d);
    const times = d.video.small ? Math.max(1, Math.round(384 / d.video.width)) : 1;
    this.size = [times * d.video.width, times * d.video.height];
    const word = (t, element) => { if (d.moves(t)) element.classList.add("motion"); element.style.setProperty("--colour", d.colours[t]); return element; };
    const pressed = (button, act) => { button.addEventListener("click", act); return button; };
    this.chips = [ALL, ...d.words].map(t => pressed(
      t === ALL ? make("button", {}, "All words") : word(t, make("button", {}, make("i", { class: "swatch" }), d.texts[t])), () => this.turn(t)));
    this.panels = [ALL, ...d.words].map(t => {
      const screen = make("canvas", { class: "screen", style: `aspect-ratio: ${this.size.join(" / ")}` }), label = make("span", {});
      const box = t === ALL ? make("button", { class: "panel" }, label, screen) : word(t, make("button", { class: "panel" }, label, screen));
      for (const kind of ["pointermove", "pointerdown"]) screen.addEventListener(kind, event => this.point(event));
      screen.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") this.unmark(); });
      const act = () => t === ALL ? this.play() : this.turn(this.text === t ? ALL : t);
      return { t, screen, label, box: pressed(box, () => { if (!this.tapped) act(); this.tapped = false; }) };  // a tap marks a patch
    });
    this.box = make("div", { class: "panels" }, ...this.panels.map(panel => panel.box));
    this.range = make("input", { type: "range", min: 0, max: d.frames - 1, value: 0, "aria-label": "Frame" });
    this.range.addEventListener("input", () => { this.frame = +this.range.value; this.draw(); });
    this.time = make("output");
    this.button = pressed(make("button", { class: "play", "aria-label": "Play" }, "▶"), () => this.play());
    this.bar = make("div", { class: "bar" }, make("span"), make("i"), make("span"));
    this.legend = make("p", { class: "about" }, SHARED.outline.legend);
    [this.about, this.ranking, this.heading] = ["about", "about ranking", "about heading"].map(name => make("p", { class: name }));
    this.curve = draw("svg", { class: "curve", role: "img", "aria-label": "Mean of each word's map by frame. Click or drag to seek." });
    this.curve.addEventListener("pointerdown", event => { this.curve.setPointerCapture(event.pointerId); this.seek(event); });
    this.curve.addEventListener("pointermove", event => { if (event.buttons) this.seek(event); });
    if (d.line) this.root.append(make("p", { class: "about line" }, d.line));
    this.root.append(make("div", { class: "words" }, ...this.chips),
      make("div", { class: "view" }, ...d.notes.map(note => make("p", { class: "note" }, "Note: " + note)),
        this.box, make("div", { class: "scrub" }, this.button, this.range, this.time), this.bar, this.ranking, this.about, this.legend),
      make("div", { class: "more" }, this.heading, this.curve, this.headPicture(), this.settings()));
    if (d.texts.length === 1) this.text = 0;
    this.frame = d.opening();
    new ResizeObserver(() => { if (this.video) this.draw(); }).observe(this.root);
  }
  // keys of the maps that are shown
  kinds() { return new Set((this.text === ALL ? this.sample.words : [this.text]).map(t => this.sample.key(t))); }
  turn(t) { this.text = t; this.unmark(); }
  unmark() { this.patch = null; this.draw(); }

  draw() {
    if (!this.video) return;
    const { sample: d, frame, text } = this, latent = d.latent(frame), kinds = this.kinds();
    this.arrange();
    for (const panel of this.panels) if (!panel.box.hidden) this.drawPanel(panel, latent);
    this.range.value = frame;
    this.time.textContent = `${d.times[frame].toFixed(2)} s, frame ${frame}`;
    this.range.setAttribute("aria-valuetext", this.time.textContent);
    this.chips.forEach((chip, i) => chip.setAttribute("aria-pressed", i - 1 === text));
    const [low, strip, high] = this.bar.children, known = text !== ALL || look.scale === "shared" && kinds.size === 1;
    const values = known ? d.limits(Math.max(text, 0), latent).values.map(value => " " + number(value)) : ["", ""];
    [low.textContent, high.textContent] = [`Low${values[0]}`, `High${values[1]}`];
    strip.style.background = gradient();
    this.legend.hidden = !d.words.some(t => Object.hasOwn(d.truth, d.texts[t]) && [ALL, t].includes(text));
    const map = kinds.size === 1 ? ` Map: ${SHARED.keys[[...kinds][0]]}.` : "";
    this.about.textContent = `${text === ALL ? "Each word" : `“${d.texts[text]}”`}.${map} Scale: ${SHARED.scales[look.scale]}.${text === ALL ? "" : d.agreement(text)}`;
    this.rank(latent);
    this.drawCurve();
  }
  // panels as large as the room and the screen let them be; a frame in a page may be taller than the screen
  arrange() {
    const one = this.text !== ALL, phone = window.innerWidth <= 600, n = one ? 2 : this.panels.length;
    for (const { t, box } of this.panels) { box.hidden = one && t !== ALL && t !== this.text; box.setAttribute("aria-pressed", one && t === this.text); }
    const room = this.box.clientWidth, most = Math.min(window.innerHeight, screen.height) * (phone ? 0.9 : 0.58), shape = this.size[1] / this.size[0];
    const sizes = range(n).map(i => i + 1).map(rows => {
      const columns = Math.ceil(n / rows), least = Math.min(phone ? LEAST : 1.5 * LEAST, most / shape), across = (room - GAP * (columns - 1)) / columns, down = ((most + GAP) / rows - GAP - LABEL) / shape;
      return { columns, width: Math.floor(Math.min(across, Math.max(down, least))) };
    });
    const { columns, width } = sizes.reduce((best, size) => size.width > best.width ? size : best);
    this.box.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
  }
  drawPanel({ t, screen, label }, latent) {
    const { sample: d } = this, [width, height] = this.size, context = screen.getContext("2d"), { columns, ...sheet } = d.video;
    const key = t === ALL ? null : d.key(t);
    context.imageSmoothingEnabled = !sheet.small;
    context.drawImage(this.video, sheet.width * (this.frame % columns), sheet.height * Math.floor(this.frame / columns), sheet.width, sheet.height, 0, 0, width, height);
    if (key) {
      context.fillStyle = `rgb(0 0 0 / ${SHARED.darkened * look.opacity})`;
      context.fillRect(0, 0, width, height);
      const values = enlarged(d.bytes[key][t][latent], ...d.grid, height, width, look.smooth);
      context.drawImage(coloured(values, d.limits(t, latent), width, height), 0, 0);
    }
    for (const polygon of d.truth[d.texts[t]]?.[this.frame] ?? []) this.outline(context, polygon, screen.width / (screen.clientWidth || width));
    if (this.patch) {
      const [y, x] = this.patch, [h, w] = d.grid.map((cells, i) => this.size[1 - i] / cells);
      for (const [colour, line] of [["#000", 3], ["#fff", 1]]) { context.strokeStyle = colour; context.lineWidth = line * Math.max(1, width / 300); context.strokeRect(x * w, y * h, w, h); }
    }
    const name = key && this.kinds().size > 1 ? SHARED.keys[key] : "";
    if (label.dataset.shown === name) return;
    label.dataset.shown = name;
    label.replaceChildren(...key ? [make("i", { class: "swatch" }), d.texts[t] + " ", ...name ? [make("small", {}, name)] : []] : ["Video"]);
    label.title = key ? `${d.texts[t]}: ${SHARED.keys[key]}` : "Video: play or pause";
  }
  // the truth: a light line with a dark halo. pixels: of the canvas in one of the screen
  outline(context, polygon, pixels) {
    const { line, halo, darkness } = SHARED.outline, path = new Path2D(), [width, height] = this.size;
    for (let i = 0; i < polygon.length; i += 2) path.lineTo(polygon[i] * width / SHARED.fine, polygon[i + 1] * height / SHARED.fine);
    for (const [colour, thick] of [[`rgb(0 0 0 / ${darkness})`, halo], ["#fff", line]]) { context.strokeStyle = colour; context.lineWidth = thick * pixels; context.stroke(path); }
  }
  // a pointer is at a patch: the words there, strongest first
  point(event) {
    const box = event.target.getBoundingClientRect(), [h, w] = this.sample.grid;
    const cell = (at, from, length, cells) => Math.min(cells - 1, Math.max(0, Math.floor((at - from) / length * cells)));
    if (event.type === "pointerdown") this.tapped = event.pointerType === "touch";
    this.patch = [cell(event.clientY, box.top, box.height, h), cell(event.clientX, box.left, box.width, w)];
    this.draw();
  }
  rank(latent) {
    const { sample: d, patch } = this;
    if (!patch) { this.ranking.textContent = "Point at a patch, or tap it, to rank the words there."; return; }
    const [y, x] = patch, words = d.ranked(patch, latent).slice(0, 8);
    this.ranking.replaceChildren(`Patch in row ${y + 1}, column ${x + 1}: `, ...words.flatMap(([value, t], i) => {
      const word = make("b", {}, make("i", { class: "swatch" }), `${cut(d.texts[t])} ${value.toFixed(2)}`);
      word.style.setProperty("--colour", d.colours[t]);
      return i ? [" · ", word] : [word];
    }));
  }
  // go to the frame whose time is nearest to a place in the curve
  seek(event) {
    const box = this.curve.getBoundingClientRect(), x = (event.clientX - box.left) * this.curve.viewBox.baseVal.width / box.width;
    const away = f => Math.abs(this.across(f) - x);
    this.frame = range(this.sample.frames).reduce((best, f) => away(f) < away(best) ? f : best);
    this.draw();
  }
  // all words; one map for all of them if one word is large. Words whose values do not compare are divided by their peaks.
  drawCurve() {
    const { sample: d, text } = this, keys = d.words.map(t => d.key(text === ALL ? t : text)), kinds = [...new Set(keys)];
    const own = kinds.length > 1 || SHARED.quiet.includes(kinds[0]), frames = range(d.frames);
    const lines = d.texts.map((name, t) => {
      const means = d.means(t, keys[t]), most = own && Math.max(...means.map(Math.abs)) || 1;
      return { name, colour: d.colours[t], dash: dashes(t), values: frames.map(f => means[d.latent(f)] / most), strong: t === text, weak: text !== ALL && t !== text,
        
        on: d.moves(t) ? onIn(means).map(([first, last]) => d.framesOf(first, last)) : [], peak: d.moves(t) || t === text ? d.peak(means) : null };
    });
    const { parts, height, at } = curveOf(lines, own, d.times.slice(0, d.frames), this.frame, this.curve.getBoundingClientRect().width || 320);
    this.across = at;
    this.heading.textContent = `Mean of ${kinds.length > 1 ? "each map" : SHARED.keys[kinds[0]]} by frame${own ? ", divided by its peak" : ""}.`
      + (d.motions.length ? " Dots: peaks. Bars: a motion word is on, above the middle of its range." : "");
    this.curve.setAttribute("viewBox", `0 0 ${this.curve.getBoundingClientRect().width || 320} ${height}`);
    this.curve.replaceChildren(...parts);
  }
  headPicture() {
    const { layers, steps, count } = this.sample.heads, box = make("details", { class: "heads" });
    box.append(make("summary", {}, `Motion heads: ${counted(layers.length, "layer")}, ${counted(steps.length, "step")}, ${counted(count, "head")} each`));
    box.addEventListener("toggle", () => { if (box.open && !box.querySelector("svg")) box.append(...headPicture(this.sample.heads, box.clientWidth)); });
    return box;
  }
  settings() {
    const groups = Object.entries(this.sample.settings).flatMap(([group, values]) => [make("h3", {}, group),
      make("dl", {}, ...Object.entries(values).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))]);
    return make("details", { class: "settings" }, make("summary", {}, "Settings, timings and versions"), ...groups);
  }
  playing(on) {
    this.button.textContent = on ? "⏸" : "▶";
    this.button.setAttribute("aria-label", on ? "Pause" : "Play");
  }
  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.button) this.playing(false);
  }
  play() {
    if (this.timer) return this.stop();
    this.playing(true);
    const { times, frames } = this.sample;
    const wait = () => setTimeout(() => { this.frame = (this.frame + 1) % frames; this.draw(); this.timer = wait(); }, 1000 * (times[this.frame + 1] - times[this.frame]));
    this.timer = wait();
  }
  keyed(event) {
    if (!this.video || event.target.tagName === "SUMMARY" || event.altKey || event.ctrlKey || event.metaKey) return;
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key], turn = { ArrowUp: -1, ArrowDown: 1 }[event.key], count = this.sample.texts.length + 1;
    if (move) this.frame = Math.min(this.sample.frames - 1, Math.max(0, this.frame + move));
    else if (turn) this.text = (this.text + 1 + turn + count) % count - 1;
    else if (event.key === " " && event.target.tagName !== "BUTTON") this.play();
    else return;
    event.preventDefault();
    this.draw();
  }
}
