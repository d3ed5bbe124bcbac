// Pictures and maps: from bytes to values and colours.

const look = SHARED.look;
const bytesOf = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const colourTables = Object.fromEntries(Object.entries(SHARED.colours).map(([name, text]) => [name, bytesOf(text)]));
const WORD_COLOURS = 8, DASHES = ["none", "6 3", "2 3", "8 3 2 3"];  // words after the eighth have dashed lines
// numbers of colours: a word has the same one in every sample, unless another word of the sample has it
const coloursOf = texts => texts.reduce((taken, text, t) => {
  let colour = SHARED.words.indexOf(text) % WORD_COLOURS;
  const round = t - t % WORD_COLOURS;
  while (taken.slice(round).includes(colour)) colour = (colour + 1) % WORD_COLOURS;
  return [...taken, colour];
}, []);
const dashes = t => DASHES[Math.floor(t / WORD_COLOURS) % DASHES.length];

const image = source => new Promise((done, failed) => {
  const picture = new Image();
  picture.onload = () => done(picture);
  picture.onerror = () => failed(new Error("a picture cannot be decoded"));
  picture.src = source;
});
// maps of a key, from a picture with words down and latent frames across: [word][latent frame] holds h x w cells, 0 to 255,
// from the red channel; the others hold further bytes where they differ from it
const decoded = async (source, words, latentFrames, [h, w]) => {
  const picture = await image(source), width = w * latentFrames;
  const context = new OffscreenCanvas(width, h * words).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const rgba = context.getImageData(0, 0, width, h * words).data;
  const grey = rgba.every((value, i) => i % 4 === 3 || value === rgba[i - i % 4]);
  const cell = i => grey ? rgba[i] : rgba[i] + rgba[i + 1] / 256 + rgba[i + 2] / 65536;
  return range(words).map(t => range(latentFrames).map(f =>
    Float32Array.from({ length: h * w }, (_, i) => cell(4 * ((t * h + Math.floor(i / w)) * width + f * w + i % w)))));
};

// where `large` pixels lie in `small` cells: the cell before, the cell after, and the share of the latter
const places = (small, large, smooth) => range(large).map(i => {
  const x = (i + 0.5) * small / large, at = smooth ? Math.min(small - 1, Math.max(0, x - 0.5)) : Math.floor(x);
  const before = Math.floor(at);
  return [before, Math.min(before + 1, small - 1), at - before];
});
// values of h x w cells at height x width pixels: enlarged before they become colours, as colours between two are other values
const enlarged = (cells, h, w, height, width, smooth) => {
  const across = places(w, width, smooth), values = new Float32Array(height * width);
  places(h, height, smooth).forEach(([up, down, low], y) => across.forEach(([left, right, late], x) => {
    const above = cells[up * w + left] * (1 - late) + cells[up * w + right] * late;
    const below = cells[down * w + left] * (1 - late) + cells[down * w + right] * late;
    values[y * width + x] = above * (1 - low) + below * low;
  }));
  return values;
};

// a byte of a map in [0, 1]
const share = (byte, { from, to }) => to > from ? Math.min(1, Math.max(0, (byte - from) / (to - from))) : 0;
const percentile = (sorted, part) => {
  const at = part * (sorted.length - 1), before = Math.floor(at);
  return sorted[before] + (at - before) * (sorted[Math.ceil(at)] - sorted[before]);
};
// bytes of a word's map that become 0 and 1, and their values. frames: bytes by latent frame; pairs: values of the bytes 0 and 255, of every word
const limitsOf = (frames, latent, pairs, t, scale) => {
  const [low, high] = pairs[t], value = byte => low + (high - low) * byte / 255;
  if (scale === "shared") {  // a map without spread has the byte 0 alone, whatever the byte means
    const values = [Math.min(...pairs.map(pair => pair[0])), Math.max(...pairs.map(pair => pair[1]))];
    const [from, to] = values.map(value => 255 * (value - low) / (high - low || 1));
    return { from, to, values };
  }
  let from = 0, to = 255;
  if (scale === "frame") { from = Math.min(...frames[latent]); to = Math.max(...frames[latent]); }
  if (scale in SHARED.percentiles) {
    const sorted = Float32Array.from(frames.flatMap(cells => [...cells])).sort();
    [from, to] = SHARED.percentiles[scale].map(part => percentile(sorted, part / 100));
    if (scale === "median" && to <= from) to = sorted[sorted.length - 1];  // bright in a few cells only
  }
  return { from, to, values: [value(from), value(to)] };
};
// values at the pixels of a canvas as colours: clear where they are low
const coloured = (values, limits, width, height) => {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d"), picture = context.createImageData(width, height);
  const table = colourTables[look.colours];
  values.forEach((value, i) => {
    const x = share(value, limits), c = 3 * Math.round(255 * x);
    for (let j = 0; j < 3; j++) picture.data[4 * i + j] = table[c + j];
    picture.data[4 * i + 3] = 255 * look.opacity * x;
  });
  context.putImageData(picture, 0, 0);
  return canvas;
};
const gradient = () => {
  const table = colourTables[look.colours], stops = range(9).map(i => 3 * Math.round(i * 255 / 8));
  return `linear-gradient(to right, ${stops.map(c => `rgb(${[...table.slice(c, c + 3)].join(" ")})`).join(", ")})`;
};
