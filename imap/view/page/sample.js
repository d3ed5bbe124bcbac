// One sample's data: maps by key, word and latent frame, their scales, and when each word is strong.

class Sample {
  constructor(d, maps) {
    Object.assign(this, d);
    this.bytes = maps;  // [key][word][latent frame]
    this.scales = new Map();
    this.colours = coloursOf(d.texts).map(number => `var(--word-${number})`);
  }
  static async of(d) {
    const entries = Object.entries(d.maps).map(async ([key, map]) => [key, await decoded(map.source, d.texts.length, d.latent_frames, d.grid)]);
    return new Sample(d, Object.fromEntries(await Promise.all(entries)));
  }
  get words() { return [...this.texts.keys()]; }
  moves(t) { return this.motions.includes(this.texts[t]); }
  key(t) {
    const wanted = look.key === "auto" ? this.shown[t] : look.key;
    return wanted in this.bytes ? wanted : Object.keys(this.bytes)[0];
  }
  latent(frame) { return this.latent_of[frame]; }
  // which bytes of a word's map become 0 and 1, and their values
  limits(t, latent) {
    const key = this.key(t), name = [key, t, look.scale, look.scale === "frame" ? latent : ""].join();
    if (!this.scales.has(name)) this.scales.set(name, limitsOf(this.bytes[key][t], latent, this.maps[key].limits, t, look.scale));
    return this.scales.get(name);
  }
  // brightness of the words at a patch, [value in [0, 1], word], strongest first
  ranked([y, x], latent) {
    const at = t => share(this.bytes[this.key(t)][t][latent][y * this.grid[1] + x], this.limits(t, latent));
    return this.words.map(t => [at(t), t]).sort((a, b) => b[0] - a[0]);
  }
  // mean of a word's map over the patches of each latent frame, in the map's values
  means(t, key = this.key(t)) {
    const [low, high] = this.maps[key].limits[t];
    return this.bytes[key][t].map(cells => low + (high - low) * cells.reduce((a, b) => a + b, 0) / cells.length / 255);
  }
  // the first and the last frame of latent frames
  framesOf(first, last) {
    const frames = range(this.frames).filter(f => this.latent(f) >= first && this.latent(f) <= last);
    return [frames[0], frames.at(-1)];
  }
  // the middle of the frames of the latent frame with the highest mean
  peak(means) {
    const latent = means.indexOf(Math.max(...means)), [first, last] = this.framesOf(latent, latent);
    return first + ((last - first + 1) >> 1);
  }
  // the peak of the first motion word, else of the first word
  opening() { return this.peak(this.means(Math.max(0, this.words.findIndex(t => this.moves(t))))); }
  agreement(t) {
    const scores = (this.agreements[this.key(t)] || [])[t];
    if (!scores) return "";
    const [rank, ap, time] = scores.map(x => x === null ? "–" : x.toFixed(2));
    return ` Agreement with the word's effect: rank correlation ${rank} (${time} over time), average precision ${ap}.`;
  }
}
