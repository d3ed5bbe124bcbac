"""The report page works in a real browser: it loads without an error, scrubs, switches maps, and hides nothing."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from imap.view.report import _map, write_report
from imap.view.sample import samples_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# waits for the cards that are near, then does what a reader would, and leaves what it saw in the page
PROBE = """<script>
window.onerror = message => { document.title = "ERROR " + message; };
window.onunhandledrejection = event => { document.title = "ERROR " + event.reason; };
const seen = {};
const press = (card, key) =>
  card.root.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
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
  seen.distinct = new Set([first, second, motion, thing, by_frame, green, clear]).size;
  card.root.querySelector("details").open = true;
  await new Promise(done => setTimeout(done, 50));
  const heads = card.root.querySelector("canvas.heads"), { width, height } = heads;
  const marks = heads.getContext("2d").getImageData(0, 0, width, height).data;
  seen.heads = [width, height, marks.filter((x, i) => i % 4 === 3 && x === 255).length];
  seen.settings = card.root.querySelector("dl").textContent;
  card.button.click(); seen.playing = card.timer !== null; card.button.click(); seen.stopped = card.timer === null;
  byId("search").value = "BOX falls"; byId("search").dispatchEvent(new Event("input"));
  seen.found = byId("count").textContent;
  seen.wide = document.documentElement.scrollWidth <= window.innerWidth;
  document.body.replaceChildren(make("pre", { id: "seen" }, JSON.stringify(seen)));
})().catch(error => { document.title = "ERROR " + error; });
</script></body>"""


def browse(page, tmp_path, size="1200,900"):
    """What the probe saw in headless Chromium."""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", probed.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1)
    assert not title.startswith("ERROR"), title
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:2000]
    text = found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(text)


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@needs_browser
@pytest.mark.parametrize("size", ["1200,900", "500,800"], ids=["laptop", "phone"])
def test_a_reader_scrubs_and_switches_words_maps_and_scales(run, tmp_path, size):
    seen = browse(write_report(samples_in(run), run / "report.html", "a run & more"), tmp_path, size)
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
    assert seen["heads"] == [2, 16, 8]
    assert "seed42" in seen["settings"] and "method.imap_layer[4, 7]" in seen["settings"]
    assert seen["playing"] and seen["stopped"] and seen["found"] == "1 of 2 samples"
    assert seen["wide"]


@needs_browser
def test_many_samples_open_and_only_those_near_are_read(tmp_path, write):
    for index in range(45):
        write(tmp_path / f"run/{index:03d}-sample", f"Clip {index}.", index % 3)
    page = write_report(samples_in(tmp_path / "run"), tmp_path / "report.html", "many")
    seen = browse(page, tmp_path)
    assert seen["cards"] == 45 and 2 <= seen["built"] < 30


def test_the_page_needs_no_network_and_is_the_same_twice(run):
    page = write_report(samples_in(run), run / "report.html", "run")
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", text) and "http://" not in text.replace(
        "http://www.w3.org", ""
    )
    assert write_report(samples_in(run), run / "again.html", "run").read_bytes() == page.read_bytes()


def test_maps_are_in_the_page_to_a_256th_of_their_range(maps):
    maps = maps["imap_layers"]
    found = _map(maps)
    cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["source"].split(",")[1]))))
    assert cells.shape == (3 * 6, 4 * 8)
    low, high = np.array(found["limits"])[:, :, None, None, None].transpose(1, 0, 2, 3, 4)
    back = low + (high - low) * cells.reshape(3, 6, 4, 8).transpose(0, 2, 1, 3) / 255
    assert np.abs(back - maps).max() <= (high - low).max() / 255
