"""The report page works in a real browser: it loads without an error, scrubs, switches maps, and hides nothing."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from imap.view.card import _map
from imap.view.look import Look
from imap.view.report import write_report
from imap.view.sample import Problems, samples_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFFLINE = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")

# waits for the cards that are near, then does what a reader would, and leaves what it saw in the page
PROBE = """<script>
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
  seen.peaks = [...card.curve.querySelectorAll(".peak title")].map(title => title.textContent);
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
  hand(seen);
})().catch(error => hand("ERROR " + error));
</script></body>"""


# what probes hand their finding to: the page around the report
HAND = """<script>
const hand = seen => window.parent.postMessage(JSON.stringify(seen), "*");
window.onerror = message => hand("ERROR " + message);
window.onunhandledrejection = event => hand("ERROR " + event.reason);
</script>
<body>"""
AROUND = """<!doctype html><body style="margin: 0">
<iframe src="probed.html" style="border: 0; width: %spx; height: %spx"></iframe>
<script>onmessage = event => document.body.append(Object.assign(document.createElement("pre"), { id: "seen",
  textContent: event.data }));</script>"""


def browse(page, tmp_path, size=(1200, 900), probe=PROBE, flags=()):
    """What the probe saw in headless Chromium, in a frame of this size: windows are not as narrow as phones."""
    text = page.read_text(encoding="utf-8").replace("<body>", HAND).replace("</body>", probe)
    (tmp_path / "probed.html").write_text(text, encoding="utf-8")
    around = tmp_path / "around.html"
    around.write_text(AROUND % size, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000", *OFFLINE, *flags]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", around.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:2000]
    seen = json.loads(html.unescape(found.group(1)))
    assert not str(seen).startswith("ERROR"), seen
    return seen


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@needs_browser
@pytest.mark.parametrize("size", [(1200, 900), (390, 800)], ids=["laptop", "phone"])
def test_a_reader_scrubs_and_switches_words_maps_and_scales(run, tmp_path, size):
    seen = browse(
        write_report(samples_in(run), run / "report.html", "a run & more", Look(), Problems()), tmp_path, size
    )
    assert seen["cards"] == 2 and seen["count"] == "2 samples"
    assert seen["texts"] == ["ball", "box", "rises & </script> falls"] and seen["text"] == seen["texts"][2]
    assert seen["heading"].startswith("A ball rises.") and seen["other"].startswith('A "box" <b>falls</b> & stays.')
    assert seen["about"].startswith("IMAP of “rises & </script> falls”, scaled over the video: ")
    assert seen["frame"] == 1 and seen["last"] == 12
    assert seen["scrubbed"] == [12, "1.50 s, frame 12", 3, 1, 2]
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
    assert seen["header"] == ("static" if size[0] == 390 else "sticky")
    # GramCol means 2 * (35 - 335 ... 335 + noise): ball's own line ends at the top of the scale that all words share
    about, top, bottom, *seconds, first, second = seen["curve"]
    assert about == "mean of GramCol by frame, dots: peaks" and [first, second] == [
        "ball",
        "rises & </scr…",
    ]
    assert (float(top), float(bottom)) == (pytest.approx(657, abs=3), pytest.approx(-657, abs=3))
    assert seconds == ["0 s", "0.5 s", "1 s", "1.5 s"]
    assert len(seen["peaks"]) == 1 and re.match(
        r"“rises & </script> falls” peaks at 0\.\d\d s, frame", seen["peaks"][0]
    )
    ball, rises = ([float(point.split(",")[1]) for point in line] for line in seen["lines"])
    assert ball[0] > ball[-1] == 20 and len(ball) == 13 and max(rises) - min(rises) < 1
    assert "seed42" in seen["settings"] and "method.imap_layer[4, 7]" in seen["settings"]
    assert seen["playing"] and seen["stopped"] and seen["found"] == "1 of 2 samples"
    assert seen["wide"]


MANY = """<script>
setTimeout(() => hand({
  cards: cards.length, built: cards.filter(card => card.chips).length, count: byId("count").textContent,
  held: cards.filter(card => card.video).length, tall: document.documentElement.scrollHeight / window.innerHeight,
}), 3000);
</script></body>"""


@needs_browser
def test_five_hundred_samples_open_at_once_as_only_those_near_are_read(run, tmp_path):
    page = write_report(samples_in(run), run / "report.html", "many", Look(), Problems())
    script = re.compile(r'<script type="application/json".*?</script>\n', re.DOTALL)
    text = page.read_text()
    page.write_text(script.sub(lambda found: found.group() * 250, text))
    start = time.monotonic()
    seen = browse(page, tmp_path, probe=MANY)
    assert time.monotonic() - start < 30
    assert seen["cards"] == 500 and seen["count"] == "500 samples" and seen["tall"] > 50
    assert 2 <= seen["built"] == seen["held"] < 30


@needs_browser
def test_words_are_legible_in_the_dark(run, tmp_path):
    probe = """<script>
    const light = x => x.match(/[0-9.]+/g).slice(0, 3).reduce((sum, part) => sum + part / 765, 0);
    const of = (element, name) => light(getComputedStyle(element)[name]);
    cards[0].load().then(() => {
      const heads = cards[0].root.querySelector("details");
      heads.open = true;
      setTimeout(() => hand({
        page: of(document.body, "backgroundColor"), card: of(cards[0].root, "backgroundColor"),
        ink: of(cards[0].root, "color"), soft: of(cards[0].about, "color"),
        curve: of(cards[0].curve.querySelector("text"), "fill"), best: of(heads.querySelector("path.best"), "fill"),
        other: of(heads.querySelector("path.other"), "fill"), cell: of(heads.querySelector("path.cell"), "fill"),
      }), 100);
    });
    </script></body>"""
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    seen = browse(page, tmp_path, probe=probe, flags=["--blink-settings=preferredColorScheme=0"])
    assert max(seen[name] for name in ("page", "card", "cell")) < 0.2
    assert min(seen[name] for name in ("ink", "soft", "curve", "best", "other")) > 0.5


HEADS = """<script>
(async () => {
  const of = (layers, steps, count) => ({ layers: [...Array(layers).keys()], steps: [...Array(steps).keys()], count,
    chosen: Array.from({ length: layers }, () => Array.from({ length: steps }, () => [count - 1, 0])) });
  const room = cards[0].root.clientWidth - 26, seen = [];
  for (const [layers, steps, count] of [[4, 1, 8], [42, 50, 48]]) {
    const [, told, box] = headPicture(of(layers, steps, count), room), card = make("div", {}, told, box);
    card.className = "heads"; card.style.width = room + "px"; document.body.prepend(card);
    const cells = box.querySelector(".cells"), { left, top, width, height } = cells.getBoundingClientRect();
    const last = { clientX: left + width - 4, clientY: top + height - 2, pointerType: "touch", bubbles: true };
    cells.dispatchEvent(new PointerEvent("pointerdown", last));
    const labels = [...card.querySelectorAll(".axis text")].slice(1).map(text => text.getBoundingClientRect());
    const apart = labels.slice(1).every((label, i) => label.left >= labels[i].right);
    const mark = +cells.querySelector(".best").getAttribute("d").match(/h([0-9.]+)/)[1];
    seen.push({ told: told.textContent, width, height, room, apart, mark, page: document.documentElement.scrollWidth });
  }
  hand(seen);
})().catch(error => hand("ERROR " + error));
</script></body>"""


@needs_browser
@pytest.mark.parametrize("size", [(1200, 900), (390, 800)], ids=["laptop", "phone"])
def test_motion_heads_of_small_and_large_models_can_be_read_and_tapped(run, tmp_path, size):
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    small, large = browse(page, tmp_path, size, HEADS)
    assert small["told"] == "layer 3, step 0: heads 7, 0 of 0 to 7, best first" and small["mark"] >= 8
    assert large["told"] == "layer 41, step 49: heads 47, 0 of 0 to 47, best first" and large["mark"] >= 2
    for seen in (small, large):
        assert seen["apart"] and seen["page"] <= size[0] and seen["width"] <= max(seen["room"], 400)


@needs_browser
def test_the_page_opens_in_the_look_that_was_asked_for(run, tmp_path):
    look = Look("cross_attention_maps_layers", "frame", "viridis", 0.4, "nearest")
    probe = """<script>cards[0].load().then(() => hand([
      ...["key", "scale", "colours", "opacity"].map(id => byId(id).value), byId("smooth").checked,
      cards[0].about.textContent]));</script></body>"""
    page = write_report(samples_in(run), run / "report.html", "run", look, Problems())
    *seen, about = browse(page, tmp_path, probe=probe)
    assert seen == ["cross_attention_maps_layers", "frame", "viridis", "40", False]
    assert about.startswith("cross attention of “rises & </script> falls”, scaled in each frame")


def test_a_key_that_no_sample_has_is_told(run, caplog):
    write_report(samples_in(run), run / "report.html", "run", Look("nothing"), Problems())
    assert "no sample has maps 'nothing'" in caplog.text


def test_a_long_run_holds_the_maps_over_all_layers_only_where_they_are_asked_for(run, monkeypatch):
    folder = samples_in(run)[0]
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "keys": [*meta["keys"], "imap"]}))
    shutil.copy(folder / "npy/imap_layers.npy", folder / "npy/imap.npy")
    monkeypatch.setattr("imap.view.report.MOST_WITH_ALL_KEYS", 1)

    def held(look, all_keys=None):
        text = write_report(samples_in(run), run / "report.html", "run", look, Problems(), all_keys).read_text()
        return '"imap":{"source"' in text, "GramCol, all layers" in text, "--all-keys takes in" in text

    assert held(Look()) == (False, False, True)
    assert held(Look(), all_keys=True) == (True, True, False)
    assert held(Look("imap")) == (True, True, True)


def test_the_page_needs_no_network_and_is_the_same_twice(run):
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", text) and "http://" not in text.replace(
        "http://www.w3.org", ""
    )
    assert (
        write_report(samples_in(run), run / "again.html", "run", Look(), Problems()).read_bytes() == page.read_bytes()
    )


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
    page = write_report(samples_in(run), run / "report.html", "<!-- <script>", Look(), Problems()).read_text()
    assert page.count("<script") == 1 + 2 and "<!--" not in page


CARDS = """<script>
(async () => {
  await Promise.all(cards.map(card => card.load()));
  hand(cards.map(card => [card.root.className, card.root.textContent]));
})().catch(error => hand("ERROR " + error));
</script></body>"""


@needs_browser
def test_samples_that_cannot_be_shown_have_a_card_that_says_why(run, tmp_path, write):
    (write(run / "002-sample") / "output.mp4").write_bytes(b"no video")
    problems = Problems()
    page = write_report(samples_in(run), run / "report.html", "run", Look(), problems)
    assert list(problems) == [run / "002-sample"]
    text = page.read_text()
    cut = text.rindex("data:image/jpeg;base64,") + 23  # the second card's frames, which no browser can decode
    page.write_text(text[:cut] + "AAAA" + text[cut + 400 :])
    good, second, third = browse(page, tmp_path, probe=CARDS)
    assert good[0] == "" and "settings and timings" in good[1]
    assert second == ["problem", second[1]] and second[1].endswith("cannot be shown: a picture cannot be decoded")
    assert third == ["problem", f" 002-samplecannot be shown: {problems[run / '002-sample']}"]
