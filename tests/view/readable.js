// How well what is on a page can be read, for the probes of test_report.py.

const channels = colour => colour.match(/[0-9.]+/g).map(Number);
// relative luminance and contrast as WCAG 2 defines them
const light = colour => channels(colour).slice(0, 3).map(x => x / 255)
  .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const behind = element => {
  const colour = getComputedStyle(element).backgroundColor, [, , , alpha = 1] = channels(colour);
  return alpha > 0 ? colour : behind(element.parentElement);
};
const apart = (a, b) => [a.right - b.left, b.right - a.left, a.bottom - b.top, b.bottom - a.top].some(x => x < 2.5);

// of a text: what it is read against, and the boxes of its lines
const textOf = node => {
  const element = node.parentElement, drawn = element.closest("svg"), style = getComputedStyle(element), range = document.createRange();
  range.selectNodeContents(node);
  const boxes = drawn ? [element.getBoundingClientRect()] : [...range.getClientRects()];
  const scrolled = element.closest(".box") && !drawn, within = (drawn ?? document.documentElement).getBoundingClientRect();
  const outside = box => box.left < within.left - 1 || box.right > within.right + 1
    || (drawn && (box.top < within.top - 3 || box.bottom > within.bottom + 3));
  const floats = getComputedStyle(element.closest(".scrub") ?? element).position === "sticky";  // it lies over what is scrolled
  return { text: node.data, boxes, floats, size: parseFloat(style.fontSize), contrast: contrast(drawn ? style.fill : style.color, behind(element)),
    cut: !scrolled && boxes.some(outside) };
};

// what a screen reader says of a control
const nameOf = control => control.getAttribute("aria-label") ?? control.closest("label")?.innerText ?? control.textContent;
const FINGER = 44, POINTER = 24;  // pixels, on phones and elsewhere

// faint, small, cut: texts that are; over: pairs of which one lies over the other; tight: controls that no finger finds;
// nameless: controls that a screen reader cannot name; twice: ids that two elements have
const readable = () => {
  const nodes = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const shown = node => node.data.trim() && !node.parentElement.closest("title, select, script") && node.parentElement.checkVisibility();
  const texts = nodes.filter(shown).map(textOf).filter(text => text.boxes.length);
  const over = (one, other) => one.boxes.some(a => other.boxes.some(b => !apart(a, b)));
  const controls = [...document.querySelectorAll("select, input, button, summary")].filter(control => control.checkVisibility());
  const fields = controls.filter(control => control.matches("select, [type=search]")).flatMap(control =>
    [null, "::placeholder"].map(part => contrast(getComputedStyle(control, part).color, behind(control))));
  const target = control => (control.closest("label") ?? control).getBoundingClientRect();
  const least = window.innerWidth < 600 ? FINGER : POINTER;
  const tight = ({ width, height, right }) => Math.min(width, height) < least || right > window.innerWidth + 1;
  return {
    dark: matchMedia("(prefers-color-scheme: dark)").matches, page: light(behind(document.body)), texts: texts.length,
    fields: Math.min(21, ...fields), faint: texts.filter(text => text.contrast < 4.5).map(text => [text.text, text.contrast]),
    small: texts.filter(text => text.size < 10).map(text => text.text), cut: texts.filter(text => text.cut).map(text => text.text),
    over: texts.flatMap((one, i) => texts.slice(i + 1).filter(other => one.floats === other.floats && over(one, other)).map(other => [one.text, other.text])),
    tight: controls.filter(control => tight(target(control))).map(control => [control.outerHTML, target(control).toJSON()]),
    nameless: controls.filter(control => !nameOf(control).trim()).map(control => control.outerHTML),
    twice: [...document.querySelectorAll("[id]")].map(element => element.id).filter((id, i, all) => all.indexOf(id) !== i),
    width: document.documentElement.scrollWidth,
  };
};

const until = async found => {
  for (let i = 0; !found(); i++) {
    if (i === 100) throw new Error("waited in vain for " + found);
    await new Promise(done => setTimeout(done, 50));
  }
};
const openAll = async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  await until(() => cards.every(card => !card.video || card.root.querySelector(".cells")));
};
