"""The report page works in a real browser: it loads without an error, scrubs, switches maps, and hides nothing."""

import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from imap.view.card import _map
from imap.view.report import write_report
from imap.view.sample import Problems, samples_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# waits for the cards that are near, then does what a reader would, and leaves what it saw in the page
PROBE = """<script>
window.onerror = message => { document.title = "ERROR " + message; };
window.onunhandledrejection = event => { document.title = "ERROR " + event.reason; };
const seen = {};
const press = (card, key, more = {}) =>
  card.root.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
const screen_of = card => card.screen.toDataURL();
(async () => {
  await Promise.all(cards.slice(0, 2).map(card => card.load()));
  const card = cards[0];
  seen.cards = cards.length;
  seen.built = cards.filter(card => card.chips).length;
  seen.count = byId("count").textContent;
  seen.texts = card.d.texts;
  seen.text = card.d.texts[card.text];
  seen.heading = card.root.querySelector("h2").textContent;
  seen.other = cards[1] && cards[1].root.querySelector("h2").textContent;
  seen.about = card.about.textContent;
  const first = screen_of(card);
  press(card, "ArrowRight");
  for (const held of ["altKey", "ctrlKey", "metaKey"]) press(card, "ArrowRight", { [held]: true });
  seen.frame = card.frame;
  const second = screen_of(card);
  card.range.value = 12; card.range.dispatchEvent(new Event("input"));
  seen.scrubbed = [card.frame, card.time.textContent, card.latent(12), card.latent(4), card.latent(5)];
  press(card, "ArrowRight");
  seen.last = card.frame;
  const motion = screen_of(card);
  press(card, "ArrowDown");
  seen.turned = card.d.texts[card.text];
  seen.turned_about = card.about.textContent;
  const thing = screen_of(card);
  seen.curve = [...card.curve.querySelectorAll("text")].map(text => text.firstChild.textContent);
  seen.lines = [...card.curve.querySelectorAll("polyline")].map(line => line.getAttribute("points").split(" "));
  const select = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(new Event("change")); };
  select("key", "cross_attention_maps_layers");
  seen.cross = card.about.textContent;
  select("scale", "frame");
  seen.by_frame = card.about.textContent;
  const by_frame = screen_of(card);
  select("scale", "shared");
  seen.shared = card.about.textContent;
  select("scale", "percentile");
  seen.percentile = card.about.textContent;
  select("colours", "viridis");
  const green = screen_of(card);
  byId("opacity").value = 0; byId("opacity").dispatchEvent(new Event("input"));
  const clear = screen_of(card);
  seen.size = [card.screen.width, card.screen.height];
  seen.smooth = [true, false].map(smooth => [...enlarged(new Uint8Array([0, 255]), 1, 2, 1, 4, smooth)]);
  card.release();
  seen.released = card.video === null;
  await card.load();
  seen.again = card.video !== null && screen_of(card) === clear;
  seen.distinct = new Set([first, second, motion, thing, by_frame, green, clear]).size;
  card.root.querySelector("details").open = true;
  await new Promise(done => setTimeout(done, 50));
  const heads = card.root.querySelector(".cells"), told = card.root.querySelector(".told");
  const { left, top, width, height } = heads.getBoundingClientRect();
  const marks = kind => heads.querySelector("path." + kind).getAttribute("d").match(/M[^M]*/g);
  seen.heads = [marks("cell"), marks("best"), marks("other")].map(found => found.length);
  seen.best = marks("best").map(mark => mark.slice(1).split("h")[0].split(" ").map(Number));
  seen.heads_wide = [width, card.root.querySelector(".box").clientWidth];
  seen.told = [];
  for (const [kind, x, y] of [["pointermove", 0.2, 0.2], ["pointerdown", 0.9, 0.9]]) {
    const at = { clientX: left + x * width, clientY: top + y * height, bubbles: true };
    heads.dispatchEvent(new PointerEvent(kind, at));
    seen.told.push(told.textContent);
  }
  const frame = card.frame;
  heads.focus();
  heads.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true, cancelable: true }));
  seen.told.push(told.textContent);
  seen.kept = card.frame === frame;
  seen.heads_about = card.root.querySelector("details .about").textContent;
  seen.header = getComputedStyle(document.querySelector("header")).position;
  seen.settings = card.root.querySelector("dl").textContent;
  card.button.click(); seen.playing = card.timer !== null; card.button.click(); seen.stopped = card.timer === null;
  byId("search").value = "BOX falls"; byId("search").dispatchEvent(new Event("input"));
  seen.found = byId("count").textContent;
  seen.wide = document.documentElement.scrollWidth <= window.innerWidth;
  document.body.replaceChildren(make("pre", { id: "seen" }, JSON.stringify(seen)));
})().catch(error => { document.title = "ERROR " + error; });
</script></body>"""


def browse(page, tmp_path, size="1200,900", probe=PROBE):
    """What the probe saw in headless Chromium."""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", probed.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1)
    assert not title.startswith("ERROR"), title
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:2000]
    return json.loads(html.unescape(found.group(1)))


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@needs_browser
@pytest.mark.parametrize("size", ["1200,900", "500,800"], ids=["laptop", "phone"])
def test_a_reader_scrubs_and_switches_words_maps_and_scales(run, tmp_path, size):
    seen = browse(write_report(samples_in(run), run / "report.html", "a run & more", Problems()), tmp_path, size)
    assert seen["cards"] == 2 and seen["count"] == "2 samples"
    assert seen["texts"] == ["ball", "box", "rises & </script> falls"] and seen["text"] == seen["texts"][2]
    assert seen["heading"].startswith("A ball rises.") and seen["other"].startswith('A "box" <b>falls</b> & stays.')
    assert seen["about"].startswith("IMAP of “rises & </script> falls”, scaled over the video: ")
    assert seen["frame"] == 1 and seen["last"] == 12
    assert seen["scrubbed"] == [12, "1.50 s, 12", 3, 1, 2]
    assert seen["turned"] == "ball" and seen["turned_about"] == "GramCol of “ball”, scaled over the video: 0.00 to 714"
    assert seen["cross"] == "cross attention of “ball”, scaled over the video: 0.00 to 1.07e+3"
    low, high = map(float, seen["by_frame"].split(": ")[1].split(" to "))
    assert (low, high) == (pytest.approx(900, abs=5), pytest.approx(1071, abs=5))
    assert seen["shared"].endswith("-1.07e+3 to 1.07e+3") and "percentiles 1 to 99" in seen["percentile"]
    assert seen["distinct"] == 7
    assert seen["smooth"] == [[0, 63.75, 191.25, 255], [0, 0, 255, 255]]
    assert seen["size"] == [384, 288] and seen["released"] and seen["again"]
    # two layers down and two steps across; in each cell one best head, head 0 at its left, and one other
    assert seen["heads"] == [4, 4, 4] and seen["heads_wide"][0] <= seen["heads_wide"][1]
    (x, y), right, below, _ = seen["best"]
    assert right[0] > x and right[1] == y and below[0] == x and below[1] > y
    assert seen["told"] == [
        "layer 4, step 2: heads 0, 3 of 0 to 7, best first",
        "layer 7, step 5: heads 0, 7 of 0 to 7, best first",
        "layer 7, step 2: heads 0, 3 of 0 to 7, best first",
    ]
    assert seen["kept"] and "Down: layers; across: steps." in seen["heads_about"]
    assert seen["header"] == ("static" if size == "500,800" else "sticky")
    # GramCol means 2 * (35 - 335 ... 335 + noise): ball's own line ends at the top of the scale that all words share
    about, top, bottom, *labels = seen["curve"]
    assert about == "mean of GramCol in each frame" and labels == ["ball", "rises & </scr…"]
    assert (float(top), float(bottom)) == (pytest.approx(657, abs=3), pytest.approx(-657, abs=3))
    ball, rises = ([float(point.split(",")[1]) for point in line] for line in seen["lines"])
    assert ball[0] > ball[-1] == 20 and len(ball) == 13 and max(rises) - min(rises) < 1
    assert "seed42" in seen["settings"] and "method.imap_layer[4, 7]" in seen["settings"]
    assert seen["playing"] and seen["stopped"] and seen["found"] == "1 of 2 samples"
    assert seen["wide"]


@needs_browser
def test_many_samples_open_and_only_those_near_are_read(tmp_path, write):
    for index in range(45):
        write(tmp_path / f"run/{index:03d}-sample", f"Clip {index}.", index % 3)
    page = write_report(samples_in(tmp_path / "run"), tmp_path / "report.html", "many", Problems())
    seen = browse(page, tmp_path)
    assert seen["cards"] == 45 and 2 <= seen["built"] < 30


def test_the_page_needs_no_network_and_is_the_same_twice(run):
    page = write_report(samples_in(run), run / "report.html", "run", Problems())
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", text) and "http://" not in text.replace(
        "http://www.w3.org", ""
    )
    assert write_report(samples_in(run), run / "again.html", "run", Problems()).read_bytes() == page.read_bytes()


def test_maps_are_in_the_page_to_a_256th_of_their_range(maps):
    maps = maps["imap_layers"]
    found = _map(maps)
    cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["source"].split(",")[1]))))
    assert cells.shape == (3 * 6, 4 * 8)
    low, high = np.array(found["limits"])[:, :, None, None, None].transpose(1, 0, 2, 3, 4)
    back = low + (high - low) * cells.reshape(3, 6, 4, 8).transpose(0, 2, 1, 3) / 255
    assert np.abs(back - maps).max() <= (high - low).max() / 255


def test_small_values_keep_their_limits(maps):
    limits = np.array(_map(maps["imap_layers"] * np.float32(1e-6))["limits"])
    assert limits[0].tolist() == [0, pytest.approx(714e-6, rel=1e-5)] and limits[2, 0] < 0 < limits[2, 1]


def test_no_text_of_a_sample_is_markup_in_the_page(run):
    page = write_report(samples_in(run), run / "report.html", "<!-- <script>", Problems()).read_text()
    assert page.count("<script") == 1 + 2 and "<!--" not in page


CARDS = """<script>
(async () => {
  await Promise.all(cards.map(card => card.load()));
  const seen = cards.map(card => [card.root.className, card.root.textContent]);
  document.body.replaceChildren(make("pre", { id: "seen" }, JSON.stringify(seen)));
})().catch(error => { document.title = "ERROR " + error; });
</script></body>"""


@needs_browser
def test_samples_that_cannot_be_shown_have_a_card_that_says_why(run, tmp_path, write):
    (write(run / "002-sample") / "output.mp4").write_bytes(b"no video")
    problems = Problems()
    page = write_report(samples_in(run), run / "report.html", "run", problems)
    assert list(problems) == [run / "002-sample"]
    text = page.read_text()
    cut = text.rindex("data:image/jpeg;base64,") + 23  # the second card's frames, which no browser can decode
    page.write_text(text[:cut] + "AAAA" + text[cut + 400 :])
    good, second, third = browse(page, tmp_path, probe=CARDS)
    assert good[0] == "" and "settings and timings" in good[1]
    assert second == ["problem", second[1]] and second[1].endswith("cannot be shown: a picture cannot be decoded")
    assert third == ["problem", f" 002-samplecannot be shown: {problems[run / '002-sample']}"]
