// The page: how maps are displayed, the search, and the cards that are near.

const cards = [];
const options = (id, entries) => { for (const [value, name] of Object.entries(entries)) byId(id).append(make("option", { value }, name)); };
options("key", { auto: "Default of each word", ...SHARED.keys });
options("scale", Object.fromEntries(Object.entries(SHARED.scales).map(([kind, text]) => [kind, text[0].toUpperCase() + text.slice(1)])));
options("colours", Object.fromEntries(Object.keys(SHARED.colours).map(name => [name, name])));
for (const name of ["key", "scale", "colours"]) {
  byId(name).value = look[name];
  byId(name).addEventListener("change", event => { look[name] = event.target.value; redraw(); });
}
byId("opacity").value = 100 * look.opacity;
byId("opacity").addEventListener("input", event => { look.opacity = event.target.value / 100; redraw(); });
byId("smooth").checked = look.smooth;
byId("smooth").addEventListener("change", event => { look.smooth = event.target.checked; redraw(); });
const redraw = () => cards.forEach(card => card.draw());

// a phone has them behind one line, so that its screen is for samples
const roomy = matchMedia("(min-width: 601px)"), unfold = () => { byId("display").open = roomy.matches; };
roomy.addEventListener("change", unfold);
unfold();

const count = () => {
  const shown = cards.filter(card => !card.root.hidden).length;
  byId("count").textContent = shown === cards.length ? counted(shown, "sample") : `${shown} of ${counted(cards.length, "sample")}`;
};
byId("search").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const card of cards) card.root.hidden = !words.every(word => card.name.toLowerCase().includes(word));
  count();
});
// a card is read when it comes near: five hundred of them open as fast as one
const near = new IntersectionObserver(entries => entries.forEach(entry => {
  const card = cards.find(card => card.root === entry.target);
  if (entry.isIntersecting) card.load(); else card.release();
}), { rootMargin: "600px" });
for (const script of document.querySelectorAll("script[data-name]")) {
  const card = new Card(script);
  cards.push(card);
  byId("cards").append(card.root);
  near.observe(card.root);
}
byId("search").hidden = cards.length < 2;
count();
