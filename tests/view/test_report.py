"""The report page works in a real browser: it loads without an error, scrubs, switches maps, and hides nothing."""

import base64
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import NAMES, Browser, find
from PIL import Image

from imap.map_files import TRUTH
from imap.media.truth import Truth, write_truth
from imap.view.card import _map
from imap.view.look import Look
from imap.view.normalization import KINDS, normalize
from imap.view.report import WIDTHS, write_report
from imap.view.run import show_report
from imap.view.sample import Problems, open_sample, samples_in
from imap.view.upsampling import latent_frame

REQUIRED = os.environ.get("IMAP_CHROMIUM") == "required"  # a missing browser is then a failure
LAPTOP, PHONE = (1280, 800), (390, 844)
sizes = pytest.mark.parametrize("size", [LAPTOP, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["laptop", "phone"])

READABLE = Path(__file__).with_name("readable.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"none of {', '.join(NAMES)} is on the PATH")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browse(browser):
    """What a script saw of a page, at a size and in light or dark."""

    def look(page, script, size=LAPTOP, dark=False):
        return browser.look(page, size, READABLE + script, dark)

    return look


# waits for the cards that are near, then acts as a reader would, and returns what it saw
PROBE = """
const seen = {};
const press = (card, key, more = {}) =>
card.root.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
await Promise.all(cards.slice(0, 2).map(card => card.load()));
const card = cards[0];
seen.cards = cards.length;
seen.built = cards.filter(card => card.chips).length;
seen.count = byId("count").textContent;
seen.texts = card.sample.texts;
seen.text = card.text;
seen.heading = card.root.querySelector("h2").textContent;
seen.other = cards[1] && cards[1].root.querySelector("h2").textContent;
const said = card => `${card.about.textContent} ${card.bar.innerText.replace(/\\s+/g, ' ').trim()}`;
const panels = card => card.panels.filter(panel => !panel.box.hidden);
const screen_of = card => panels(card).at(-1).screen.toDataURL();
const labels = card => panels(card).map(panel => panel.label.textContent);
seen.all = [labels(card), said(card), card.curve.querySelectorAll("polyline").length, card.heading.textContent];
seen.opened = cards.slice(0, 2).map(card => +card.range.value);
seen.time_opened = card.time.textContent;
press(card, "ArrowUp");
seen.text_up = card.sample.texts[card.text];
seen.one = labels(card);
seen.about = said(card);
card.frame = 0; card.draw();
const first = screen_of(card);
press(card, "ArrowRight");
for (const held of ["altKey", "ctrlKey", "metaKey"]) press(card, "ArrowRight", { [held]: true });
seen.frame = card.frame;
const second = screen_of(card);
card.range.value = 12; card.range.dispatchEvent(new Event("input"));
const latent = f => card.sample.latent(f);
seen.scrubbed = [card.frame, card.time.textContent, latent(12), latent(4), latent(5)];
press(card, "ArrowRight");
seen.last = card.frame;
const motion = screen_of(card);
press(card, "ArrowDown");
seen.all_again = card.text;
press(card, "ArrowDown");
seen.turned = card.sample.texts[card.text];
seen.turned_about = said(card);
const thing = screen_of(card);
seen.curve_heading = card.heading.textContent;
seen.curve = [...card.curve.querySelectorAll("text")].map(text => text.firstChild.textContent);
seen.lines = [...card.curve.querySelectorAll("polyline")].map(line => line.getAttribute("points").split(" "));
const before = card.frame, box = card.curve.getBoundingClientRect();
const scale = box.width / card.curve.viewBox.baseVal.width;
const point = f => ({ clientX: box.left + card.across(f) * scale, bubbles: true, buttons: 1, pointerId: 1 });
card.curve.setPointerCapture = () => {};
const moved = (name, f) => card.curve.dispatchEvent(new PointerEvent(name, point(f))) && card.frame;
seen.sought = [moved("pointerdown", 9), moved("pointermove", 4)];
card.frame = before;
card.draw();
seen.coloured = getComputedStyle(card.bar.children[1]).backgroundImage.startsWith("linear-gradient");
seen.peaks = [...card.curve.querySelectorAll(".peak title")].map(title => title.textContent);
const select = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(new Event("change")); };
select("key", "cross_attention_maps_layers");
seen.cross = said(card);
select("scale", "frame");
seen.by_frame = said(card);
const by_frame = screen_of(card);
select("scale", "shared");
seen.shared = said(card);
select("scale", "percentile");
seen.percentile = said(card);
select("colours", "viridis");
const green = screen_of(card);
byId("opacity").value = 0; byId("opacity").dispatchEvent(new Event("input"));
const clear = screen_of(card);
seen.size = [card.panels[0].screen.width, card.panels[0].screen.height];
seen.smooth = [true, false].map(smooth => [...enlarged(new Uint8Array([0, 255]), 1, 2, 1, 4, smooth)]);
card.release();
seen.released = card.video === null && card.panels.every(panel => panel.screen.width === 0);
await card.load();
seen.again = card.video !== null && screen_of(card) === clear;
seen.distinct = new Set([first, second, motion, thing, by_frame, green, clear]).size;
card.panels[2].box.click();
seen.clicked = [card.text, labels(card).length];
card.panels[2].box.click();
seen.clicked_again = card.text;
card.root.querySelector("details").open = true;
await new Promise(done => setTimeout(done, 50));
const heads = card.root.querySelector(".cells"), reading = card.root.querySelector(".reading");
const { left, top, width, height } = heads.getBoundingClientRect();
const marks = kind => heads.querySelector("path." + kind).getAttribute("d").match(/M[^M]*/g);
seen.heads = [marks("cell"), marks("best"), marks("other")].map(found => found.length);
seen.best = marks("best").map(mark => mark.slice(1).split("h")[0].split(" ").map(Number));
seen.heads_wide = [width, card.root.querySelector(".box").clientWidth];
seen.readings = [];
for (const [kind, x, y] of [["pointermove", 0.2, 0.2], ["pointerdown", 0.9, 0.9]]) {
  const at = { clientX: left + x * width, clientY: top + y * height, bubbles: true };
  heads.dispatchEvent(new PointerEvent(kind, at));
  seen.readings.push(reading.textContent);
}
const frame = card.frame;
heads.focus();
heads.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true, cancelable: true }));
seen.readings.push(reading.textContent);
seen.kept = card.frame === frame;
seen.heads_about = card.root.querySelector("details .about").textContent;
seen.header = getComputedStyle(document.querySelector("header")).position;
seen.settings = [...card.root.querySelectorAll("dt, dd")].map(part => part.textContent);
card.root.querySelector(".settings").open = true;
seen.groups = [...card.root.querySelectorAll("h3")].map(group => group.textContent);
card.button.click(); seen.playing = card.timer !== null; card.button.click(); seen.stopped = card.timer === null;
byId("search").value = "BOX falls"; byId("search").dispatchEvent(new Event("input"));
seen.found = byId("count").textContent;
seen.width = document.documentElement.scrollWidth;
return seen;
"""


@pytest.mark.slow
@sizes
def test_a_reader_scrubs_and_switches_words_maps_and_scales(run, size, browse):
    page = write_report(samples_in(run), run / "report.html", "a run & more", Look(normalization="video"), Problems())
    seen = browse(page, PROBE, size)
    assert seen["cards"] == 2 and seen["count"] == "2 samples"
    assert seen["texts"] == ["ball", "box", "rises & </script> falls"] and seen["text"] == -1
    shown, about, lines, heading = seen["all"]
    assert shown == ["Video", "ball GramCol", "box GramCol", "rises & </script> falls IMAP"] and lines == 3
    assert about == "Each word. Scale: lowest to highest value of the video. Low High"
    assert heading.startswith("Mean of each map by frame, divided by its peak. Dots: peaks.")
    assert seen["text_up"] == seen["texts"][2] and seen["one"] == ["Video", "rises & </script> falls "]
    assert seen["heading"].startswith("A ball rises.") and seen["other"].startswith('A "box" <b>falls</b> & stays.')
    scale = "Scale: lowest to highest value of the video"
    assert seen["about"].startswith(f"“rises & </script> falls”. Map: IMAP. {scale}. Low ")
    assert seen["opened"] == [peak_frame(run / name) for name in ("000-sample", "001-sample")]
    assert seen["time_opened"].endswith(f" s, frame {seen['opened'][0]}")
    assert seen["frame"] == 1 and seen["last"] == 12
    assert seen["scrubbed"] == [12, "1.50 s, frame 12", 3, 1, 2]
    assert seen["sought"] == [9, 4] and seen["coloured"]
    assert seen["all_again"] == -1 and seen["clicked"] == [1, 2] and seen["clicked_again"] == -1
    assert seen["turned"] == "ball" and seen["turned_about"] == f"“ball”. Map: GramCol. {scale}. Low 0 High 714"
    assert seen["cross"] == f"“ball”. Map: cross attention. {scale}. Low 0 High 1070"
    low, high = map(float, re.findall(r"(?:Low|High) ([\d.]+)", seen["by_frame"]))
    assert (low, high) == (pytest.approx(900, abs=5), pytest.approx(1071, abs=5))
    assert seen["shared"].endswith("Low -1070 High 1070") and "1st to 99th percentile" in seen["percentile"]
    assert seen["distinct"] == 7
    assert seen["smooth"] == [[0, 63.75, 191.25, 255], [0, 0, 255, 255]]
    assert seen["size"] == [384, 288] and seen["released"] and seen["again"]
    # two layers down and two steps across; in each cell one best head, head 0 at its left, and one other
    assert seen["heads"] == [4, 4, 4] and seen["heads_wide"][0] <= seen["heads_wide"][1]
    (x, y), right, below, _ = seen["best"]
    assert right[0] > x and right[1] == y and below[0] == x and below[1] > y
    assert seen["readings"] == [
        "Layer 4, step 2: heads 0, 3 of 0 to 7, best first",
        "Layer 7, step 5: heads 0, 7 of 0 to 7, best first",
        "Layer 7, step 2: heads 0, 3 of 0 to 7, best first",
    ]
    assert seen["kept"] and "Each cell holds heads 0 to 7, from left to right" in seen["heads_about"]
    assert seen["header"] == ("static" if size == PHONE else "sticky")
    # GramCol means 2 * (35 - 335 ... 335 + noise): ball ends at the top of the scale that all words share
    top, bottom, *seconds, first, second, third = seen["curve"]
    assert seen["curve_heading"].startswith("Mean of GramCol by frame. Dots: peaks. Bars: ")
    assert [first, second, third] == ["ball", "rises & </scr…", "box"]
    assert (float(top), float(bottom)) == (pytest.approx(657, abs=3), pytest.approx(-657, abs=3))
    assert seconds == ["0 s", "0.5 s", "1 s", "1.5 s"]
    assert len(seen["peaks"]) == 2 and seen["peaks"][0] == "“ball” peaks at 1.38 s, frame 11"
    assert re.match(r"“rises & </script> falls” peaks at 0\.\d\d s, frame", seen["peaks"][1])
    ball, rises, box = ([float(point.split(",")[1]) for point in line] for line in seen["lines"])
    assert ball[0] > ball[-1] == 8 and len(ball) == 13 and max(rises) - min(rises) < 1 and box[-1] == 128
    assert seen["groups"] == ["Run", "Method", "Seconds", "Versions"]
    assert seen["settings"][2:4] == ["seed", "42"] and "method.imap_layer" in seen["settings"]
    assert seen["playing"] and seen["stopped"] and seen["found"] == "1 of 2 samples"
    assert seen["width"] <= size[0]


def peak_frame(folder):
    """The middle video frame of the latent frame in which the last word's IMAP has its highest mean."""
    latent = int(np.load(folder / "npy/sel_imap_layers.npy")[-1].mean(axis=(1, 2)).argmax())
    return 0 if latent == 0 else 4 * latent - 1


def assert_readable(seen, size, dark=False):
    assert seen["dark"] == dark and (seen["page"] < 0.05 if dark else seen["page"] > 0.85)
    assert seen["fields"] >= 4.5
    for fault in ("faint", "small", "cut", "over", "tight", "nameless", "twice"):
        assert seen[fault] == [], fault
    assert seen["width"] <= size[0]


OPENED = """
const header = document.querySelector("header").getBoundingClientRect().height;
await Promise.all(cards.map(card => card.load()));
await openAll();
const fill = name => getComputedStyle(document.querySelector("path." + name)).fill;
const marks = ["best", "other"].map(name => contrast(fill(name), fill("cell")));
const first = readable();
byId("key").value = "concept_attention_maps_layers"; byId("key").dispatchEvent(new Event("change"));
byId("scale").value = "percentile"; byId("scale").dispatchEvent(new Event("change"));
cards[0].root.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
return { pages: [first, readable()], marks, header };
"""


@sizes
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.slow
def test_all_words_are_legible_and_in_their_place(run, write, size, dark, browse):
    (write(run / "002-sample") / "output.mp4").write_bytes(b"no video")
    for name in ("imap_layers", "concept_attention_maps_layers"):  # small values have long numbers
        path = run / f"001-sample/npy/{name}.npy"
        np.save(path, np.load(path) * np.float32(1e-6))
    title = "a run whose folder has a name of_some_length_without_a_space"
    page = write_report(samples_in(run), run / "report.html", title, Look(), Problems())
    seen = browse(page, OPENED, size, dark)
    assert min(seen["marks"]) >= 3
    assert seen["header"] < 0.25 * size[1]
    for shown in seen["pages"]:
        assert shown["texts"] > 60
        assert_readable(shown, size, dark)


SINGLE = """
await cards[0].load();
const card = cards[0], { root, range, curve, chips } = card, { screen } = card.panels[0];
const parts = { card: root, screen, range, curve, texts: chips[0], last: card.panels.at(-1).screen };
const closed = readable(), bottom = card.root.getBoundingClientRect().bottom;
await openAll();
const boxes = Object.entries(parts).map(([name, part]) => [name, part.getBoundingClientRect().toJSON()]);
return { count: byId("count").textContent, title: document.title, search: byId("search").checkVisibility(), bottom,
  closed, opened: readable(), boxes: Object.fromEntries(boxes) };
"""


@pytest.mark.slow
@sizes
@pytest.mark.parametrize("alone", [False, True], ids=["run", "sample"])
def test_a_single_sample_has_the_page_to_itself(run, size, alone, browse):
    shutil.rmtree(run / "001-sample")
    folder = run / "000-sample"
    page = show_report(folder if alone else run, samples_in(run), Look(), Problems())
    assert page == (folder / "view/report.html" if alone else run / "report.html")
    seen = browse(page, SINGLE, size)
    assert seen["count"] == "1 sample" and seen["title"] == ("000-sample" if alone else "run") and not seen["search"]
    assert_readable(seen["closed"], size)
    assert_readable(seen["opened"], size)
    card, screen, scrub, curve, texts, last = seen["boxes"].values()
    assert card["width"] > 0.9 * size[0] and curve["right"] <= card["right"] and texts["bottom"] <= screen["top"]
    if size == PHONE:  # one below the other; play and seek are on the screen
        assert curve["left"] < screen["left"] + 1 and curve["top"] > last["bottom"]
    else:  # beside each other, and all of it on the screen
        assert last["bottom"] <= scrub["top"] < last["bottom"] + 40
        assert curve["left"] > last["right"] and seen["bottom"] < size[1]


@pytest.fixture(scope="module")
def page_of_500(tmp_path_factory, write):
    """The page of a large run: two samples whose videos it makes narrower, and 498 small ones of few folders."""
    home = tmp_path_factory.mktemp("large")
    shapes = ((5, 128, 192), (5, 128, 192), (5, 48, 64), (5, 48, 64))
    kept = [write(home / f"kept/{i}", f"A ball rises {i} times.", i, shape) for i, shape in enumerate(shapes)]
    (home / "run").mkdir()
    for i in range(500):
        (home / f"run/{i:03d}-sample").symlink_to(kept[i if i < 2 else 2 + i % 2])
    return write_report(samples_in(home / "run"), home / "run/report.html", "many", Look(), Problems())


MANY = """
const held = () => cards.filter(card => card.video);
const drawn = () => cards.filter(card => card.panels && card.panels[0].screen.width).length;
await until(() => held().length > 1);
const seen = { cards: cards.length, count: byId("count").textContent,
  tall: document.documentElement.scrollHeight / window.innerHeight, width: cards[0].sample.video.width,
  left_out: document.querySelector("footer").textContent, first: readable(), held: [], drawn: [] };
const note = () => { seen.held.push(held().length); seen.drawn.push(drawn()); };
note();
const height = cards[0].root.getBoundingClientRect().height;
cards[499].root.scrollIntoView();
await until(() => cards[499].video && !cards[0].video);
cards[499].turn(2);
seen.last = [cards[499].about.textContent, cards[0].root.getBoundingClientRect().height - height];
note();
seen.built = cards.filter(card => card.chips).length;
byId("search").value = "RISES 1 times"; byId("search").dispatchEvent(new Event("input"));
await until(() => cards[1].video);
seen.found = [byId("count").textContent, cards.filter(card => !card.root.hidden).map(card => card.name)];
byId("search").value = ""; byId("search").dispatchEvent(new Event("input"));
window.scrollTo(0, 0);
await until(() => cards[0].video);
note();
seen.again = cards[0].panels[0].screen.width;
return seen;
"""


@sizes
@pytest.mark.slow
def test_five_hundred_samples_open_at_once_as_only_those_near_are_read(page_of_500, size, browse):
    seen = browse(page_of_500, MANY, size)
    assert seen["cards"] == 500 and seen["count"] == "500 samples" and seen["tall"] > 50
    assert seen["width"] == WIDTHS[-1][1] == 160 and "--all-keys" in seen["left_out"]
    assert_readable(seen["first"], size)
    assert all(1 <= held < 30 for held in seen["held"]), seen["held"]
    assert seen["drawn"] == seen["held"] and seen["built"] < 60
    about, grown = seen["last"]
    assert about.startswith("“rises & </script> falls”. Map: IMAP. ") and abs(grown) < 1
    assert seen["found"] == ["1 of 500 samples", ["A ball rises 1 times."]] and seen["again"] > 0


@pytest.mark.slow
def test_narrow_videos_of_a_large_run_keep_their_shape(page_of_500):
    found = re.findall(r'"width":(\d+),"height":(\d+),', page_of_500.read_text())
    assert found[:3] == [("160", "107"), ("160", "107"), ("64", "48")] and len(found) == 500


SCALES = """
await cards[0].load();
const card = cards[0], seen = {};
for (const kind of Object.keys(SHARED.scales)) for (const [key, texts] of Object.entries(card.sample.bytes)) {
  Object.assign(look, { scale: kind, key });
  seen[kind + " " + key] = texts.map((frames, t) => frames.map((cells, latent) =>
    [...cells].map(byte => share(byte, card.sample.limits(t, latent)))));
}
return seen;
"""


@pytest.mark.slow
def test_scales_of_the_page_are_those_of_the_pictures_for_maps_without_spread_too(run, browse):
    folder = samples_in(run)[0]
    flat, path = np.load(folder / "npy/imap_layers.npy"), folder / "npy/cross_attention_maps_layers.npy"
    flat[1] = 100  # of one word, inside the range of the others
    np.save(folder / "npy/imap_layers.npy", flat)
    np.save(path, np.full_like(flat, 5))
    page = write_report([folder], run / "report.html", "run", Look(), Problems())
    seen, maps = browse(page, SCALES), open_sample(folder).maps
    assert len(seen) == len(KINDS) * len(maps)
    for name, found in seen.items():
        kind, key = name.split()
        expected = normalize(maps[key], kind).values
        found = np.array(found).reshape(expected.shape)
        # a byte is a 256th of the map's range over the video, of which a frame's range is a part
        near = {"frame": 0.03, "median": 0.01}.get(kind, 0.005)
        np.testing.assert_allclose(found, expected, atol=near, err_msg=name)
    assert 0.1 < seen["shared imap_layers"][1][0][0] < 0.9


PATCH = """
await cards[0].load();
const card = cards[0], seen = [], { screen } = card.panels[1], box = screen.getBoundingClientRect();
card.frame = 12; card.draw();
const plain = screen.toDataURL();
for (const [row, column] of [[0, 0], [2, 5], [5, 7]]) {
  const at = { clientX: box.left + (column + 0.5) / 8 * box.width, clientY: box.top + (row + 0.5) / 6 * box.height };
  screen.dispatchEvent(new PointerEvent("pointermove", { ...at, bubbles: true }));
  seen.push([card.ranking.textContent, screen.toDataURL() !== plain]);
}
screen.dispatchEvent(new PointerEvent("pointerleave"));
return [seen, card.ranking.textContent, screen.toDataURL() === plain];
"""
TAP = """
await cards[0].load();
const card = cards[0], { screen, box } = card.panels[2];
screen.scrollIntoView();
const { left, top, width } = screen.getBoundingClientRect();
return [left + 0.3 * width, top + 0.3 * width];
"""
TAPPED = """
const card = cards[0], after = () => [card.text, card.ranking.textContent.startsWith("Patch in row"), card.timer];
const tapped = after();
card.panels[2].box.click();
return [tapped, after()];
"""


@pytest.mark.slow
def test_a_tap_ranks_the_words_and_does_not_switch_them(run, browser):
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    tab = browser.open(page.resolve().as_uri(), PHONE)
    tab.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    x, y = tab.run(TAP)
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        tab.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    tab.until("cards[0].patch !== null")
    tapped, clicked = tab.run(TAPPED)
    tab.close()
    assert tapped == [-1, True, None]
    assert clicked == [1, False, None]  # as with the keyboard


@pytest.mark.slow
def test_words_at_a_patch_are_ranked_by_what_is_drawn_there(run, browse):
    folder = samples_in(run)[0]
    page = write_report([folder], run / "report.html", "run", Look(), Problems())
    seen, after, restored = browse(page, PATCH)
    maps = open_sample(folder).maps
    drawn = np.stack([normalize(maps[maps.key_of(text)], "median").values[t, 3] for t, text in enumerate(maps.texts)])
    for (row, column), (said, marked) in zip([(0, 0), (2, 5), (5, 7)], seen, strict=True):
        place, words = said.split(": ", 1)
        assert place == f"Patch in row {row + 1}, column {column + 1}" and marked
        names = {"rises & </scr…": 2, "ball": 0, "box": 1}
        found = [(names[word.rsplit(" ", 1)[0]], float(word.rsplit(" ", 1)[1])) for word in words.split(" · ")]
        values = [value for _, value in found]
        assert values == sorted(values, reverse=True) and {t for t, _ in found} == {0, 1, 2}
        for t, value in found:
            assert value == pytest.approx(drawn[t, row, column], abs=0.02)
    assert after.startswith("Point at a patch") and restored


BARS = """
await cards[0].load();
const card = cards[0], bars = [...card.curve.querySelectorAll(".on title")].map(title => title.textContent);
const runs = [[0, 1, 0, 1, 1], [1, 1, 0, 0, 1], [2, 2, 2, 2, 2], [0, 0, 0, 3, 9]].map(onIn);
card.turn(2);
return [bars, runs, card.curve.querySelectorAll("polygon").length, card.frame];
"""


@pytest.mark.slow
def test_a_motion_word_is_on_above_the_middle_of_its_range(run, browse):
    folder = samples_in(run)[0]
    path = folder / "npy/sel_imap_layers.npy"
    maps = np.load(path)
    maps[2] = np.array([1, 5, 4, 2], np.float32)[:, None, None] + np.arange(8) / 100  # by latent frame
    np.save(path, maps)
    page = write_report([folder], run / "report.html", "run", Look(), Problems())
    bars, runs, shades, frame = browse(page, BARS)
    assert bars == ["“rises & </script> falls” is on from 0.13 to 1.00 s"]  # frames 1 to 8 of 8 per second
    assert runs == [[[1, 1], [3, 4]], [[0, 1], [4, 4]], [], [[4, 4]]]
    assert shades == 1 and frame == 3  # opens at the middle of the frames of its peak


COLOURS = """
const seen = {};
for (const name of [...Array(WORD_COLOURS).keys()].map(i => `--word-${i}`)) {
  const probe = make("p", { style: `color: var(${name})` }, "x");
  document.querySelector("header").append(probe);
  seen[getComputedStyle(probe).color] = contrast(getComputedStyle(probe).color, behind(probe));
}
SHARED.words = [..."abcdefghijklmnop"];
return [seen, ["abc", "ba", "ai", "abcdefghi"].map(texts => coloursOf([...texts])), dashes(3), dashes(9)];
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.slow
def test_each_word_has_a_legible_colour_of_its_own(run, dark, browse):
    page = write_report(samples_in(run)[:1], run / "report.html", "run", Look(), Problems())
    colours, given, first_line, tenth_line = browse(page, COLOURS, LAPTOP, dark)
    assert len(colours) == 8 and min(colours.values()) >= 4.5
    # the ninth word of the page has the first one's colour, unless both are in one sample
    assert given == [[0, 1, 2], [1, 0], [0, 1], [0, 1, 2, 3, 4, 5, 6, 7, 0]]
    assert first_line == "none" != tenth_line


OUTLINE = """
await cards[0].load();
const card = cards[0], seen = {};
look.opacity = 0;
const outlined = (t, frame) => {
  card.frame = frame; card.draw();
  const { screen } = card.panels[t + 1], { width, height } = screen;
  const rgba = screen.getContext("2d").getImageData(0, 0, width, height).data, found = [];
  for (let i = 0; i < rgba.length; i += 4) if (Math.min(...rgba.slice(i, i + 3)) > 245) found.push(i / 4);
  const xs = found.map(i => i % width / width), ys = found.map(i => Math.floor(i / width) / height);
  return found.length ? [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)] : null;
};
for (const [name, t, frame] of [["ball", 0, 0], ["box", 1, 7], ["before", 2, 3], ["during", 2, 4], ["after", 2, 8]])
  seen[name] = outlined(t, frame);
seen.legends = [-1, 0, 1, 2].map(t => { card.turn(t); return !card.legend.hidden; });
return seen;
"""


@pytest.mark.slow
def test_the_truth_is_outlined_where_and_while_it_holds(run, browse):
    folder = samples_in(run)[0]
    masks = np.zeros((13, 48, 64), bool)
    masks[:, 12:30, 16:48] = True
    moving = (np.arange(13) // 4 == 1)[None]
    write_truth(folder / TRUTH, Truth(["ball"], ["rises & </script> falls"], masks[None], moving))
    page = write_report([folder], run / "report.html", "run", Look(), Problems())
    seen = browse(page, OUTLINE)
    for found in (seen["ball"], seen["during"]):
        assert found == pytest.approx([16 / 64, 48 / 64, 12 / 48, 30 / 48], abs=0.015)
    assert seen["box"] is seen["before"] is seen["after"] is None
    assert seen["legends"] == [True, True, False, True]
    assert browse(write_report([folder], page, "run", Look(truth=False), Problems()), OUTLINE)["ball"] is None


@pytest.mark.parametrize(("latent", "frames"), [(4, 13), (12, 48), (2, 8), (1, 4)])
@pytest.mark.slow
def test_the_page_shows_each_frame_under_the_latent_frame_of_the_pictures(latent, frames, write, tmp_path, browse):
    folder = write(tmp_path / "000-a", shape=(frames, 48, 64))
    assert np.load(next((folder / "npy").glob("*.npy"))).shape[1] == latent
    page = write_report([folder], tmp_path / "report.html", "run", Look(), Problems())
    script = (
        "await cards[0].load(); const { sample } = cards[0]; return range(sample.frames).map(f => sample.latent(f))"
    )
    assert browse(page, script) == [latent_frame(frame, latent, frames) for frame in range(frames)]


HEADS = """
const of = (layers, steps, count) => ({ layers: [...Array(layers).keys()], steps: [...Array(steps).keys()], count,
  chosen: Array.from({ length: layers }, () => Array.from({ length: steps }, () => [count - 1, 0])) });
const room = cards[0].root.clientWidth - 26, seen = [];
for (const [layers, steps, count] of [[4, 1, 8], [42, 50, 48]]) {
  const [, reading, box] = headPicture(of(layers, steps, count), room), card = make("div", {}, reading, box);
  card.className = "heads"; card.style.width = room + "px"; document.body.prepend(card);
  const cells = box.querySelector(".cells"), { left, top, width, height } = cells.getBoundingClientRect();
  const last = { clientX: left + width - 4, clientY: top + height - 2, pointerType: "touch", bubbles: true };
  cells.dispatchEvent(new PointerEvent("pointerdown", last));
  const labels = [...card.querySelectorAll(".axis text")].slice(1).map(text => text.getBoundingClientRect());
  const apart = labels.slice(1).every((label, i) => label.left >= labels[i].right);
  const mark = +cells.querySelector(".best").getAttribute("d").match(/h([0-9.]+)/)[1];
  const page = document.documentElement.scrollWidth;
  seen.push({ reading: reading.textContent, width, height, room, apart, mark, page });
}
return seen;
"""


@sizes
@pytest.mark.slow
def test_motion_heads_of_small_and_large_models_can_be_read_and_tapped(run, size, browse):
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    small, large = browse(page, HEADS, size)
    assert small["reading"] == "Layer 3, step 0: heads 7, 0 of 0 to 7, best first" and small["mark"] >= 8
    assert large["reading"] == "Layer 41, step 49: heads 47, 0 of 0 to 47, best first" and large["mark"] >= 2
    for seen in (small, large):
        assert seen["apart"] and seen["page"] <= size[0] and seen["width"] <= max(seen["room"], 400)


@pytest.mark.slow
def test_the_page_opens_in_the_given_look(run, browse):
    look = Look("cross_attention_maps_layers", "frame", "viridis", 0.4, "nearest")
    script = """
      await cards[0].load();
      cards[0].turn(2);
      const values = ["key", "scale", "colours", "opacity"].map(id => byId(id).value);
      return [...values, byId("smooth").checked, cards[0].about.textContent];"""
    page = write_report(samples_in(run), run / "report.html", "run", look, Problems())
    *seen, about = browse(page, script)
    assert seen == ["cross_attention_maps_layers", "frame", "viridis", "40", False]
    scale = "Scale: lowest to highest value of each frame"
    assert about.startswith(f"“rises & </script> falls”. Map: cross attention. {scale}.")


def test_a_key_that_no_sample_has_is_logged(run, caplog):
    write_report(samples_in(run), run / "report.html", "run", Look("nothing"), Problems())
    assert "no sample has maps 'nothing'" in caplog.text


def test_a_long_run_holds_the_maps_over_all_layers_only_on_request(run, monkeypatch):
    folder = samples_in(run)[0]
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "keys": [*meta["keys"], "imap"]}))
    shutil.copy(folder / "npy/imap_layers.npy", folder / "npy/imap.npy")
    monkeypatch.setattr("imap.view.report.MOST_WITH_ALL_KEYS", 1)

    def held(look, all_keys=None):
        text = write_report(samples_in(run), run / "report.html", "run", look, Problems(), all_keys).read_text()
        return '"imap":{"source"' in text, "GramCol, all layers" in text, "--all-keys adds" in text

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


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_page_that_is_not_finished_leaves_the_earlier_one_and_nothing_else(error, run, monkeypatch):
    page = write_report(samples_in(run), run / "report.html", "run", Look(), Problems())
    earlier, names = page.read_bytes(), sorted(path.name for path in run.iterdir())

    def stop(*_):
        assert len(list(run.glob(".report.html.partial-*"))) == 1
        raise error

    monkeypatch.setattr("imap.view.report._shared", stop)
    with pytest.raises(error):
        write_report(samples_in(run), page, "run", Look(), Problems())
    assert page.read_bytes() == earlier and sorted(path.name for path in run.iterdir()) == names


def test_maps_are_in_the_page_to_a_256th_of_their_range(maps):
    maps = maps["imap_layers"]
    found = _map(maps)
    cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["source"].split(",")[1]))))
    assert cells.shape == (3 * 6, 4 * 8)
    low, high = np.array(found["limits"])[:, :, None, None, None].transpose(1, 0, 2, 3, 4)
    back = low + (high - low) * cells.reshape(3, 6, 4, 8).transpose(0, 2, 1, 3) / 255
    assert np.abs(back - maps).max() <= (high - low).max() / 255


SPIKY = """
await cards[0].load();
const { sample } = cards[0], limits = sample.limits(0, 1);
return [limits.values, sample.bytes["imap_layers"][0].map(cells => [...cells].map(byte => share(byte, limits)))];
"""


@pytest.mark.slow
def test_a_single_high_cell_does_not_leave_the_colours_in_steps(run, browse):
    folder = samples_in(run)[0]
    path = folder / "npy/imap_layers.npy"
    values = np.load(path)
    values[0] = np.random.default_rng(3).random(values[0].shape)
    values[0, 1, 2, 3] = 1e4
    np.save(path, values)
    page = write_report([folder], run / "report.html", "run", Look(key="imap_layers"), Problems())
    limits, seen = browse(page, SPIKY)
    expected = normalize(values, "median")
    np.testing.assert_allclose(limits, expected.limits[0, 0], atol=2e-3)
    np.testing.assert_allclose(np.array(seen).reshape(values[0].shape), expected.values[0], atol=5e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_named(run, bad):
    folder = samples_in(run)[0]
    path = folder / "npy/imap_layers.npy"
    values = np.load(path)
    values[1, 0, 0, 0] = bad
    np.save(path, values)
    problems = Problems()
    write_report(samples_in(run), run / "report.html", "run", Look(), problems)
    assert problems == {
        folder: "the maps 'imap_layers' have values that are NaN or infinite, which no picture can show"
    }


def test_small_values_keep_their_limits(maps):
    limits = np.array(_map(maps["imap_layers"] * np.float32(1e-6))["limits"])
    assert limits[0].tolist() == [0, pytest.approx(714e-6, rel=1e-5)] and limits[2, 0] < 0 < limits[2, 1]


def test_no_text_of_a_sample_is_markup_in_the_page(run):
    page = write_report(samples_in(run), run / "report.html", "<!-- <script>", Look(), Problems()).read_text()
    assert page.count("<script") == 1 + 2 and "<!--" not in page


CARDS = """
await Promise.all(cards.map(card => card.load()));
return cards.map(card => [card.root.className, card.root.textContent]);
"""


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_shown(earlier, browse):
    page = write_report(samples_in(earlier), earlier / "report.html", "run", Look(), Problems())
    ((kind, text),) = browse(page, CARDS)
    assert kind == "" and "A red ball rolls past a small dog" in text and "Motion heads: 4 layers, 2 steps" in text
    assert "method.imap_sep_scoreCHI" in text


@pytest.mark.slow
def test_samples_that_cannot_be_shown_have_a_card_that_says_why(run, write, browse):
    (write(run / "002-sample") / "output.mp4").write_bytes(b"no video")
    problems = Problems()
    page = write_report(samples_in(run), run / "report.html", "run", Look(), problems)
    assert list(problems) == [run / "002-sample"]
    text = page.read_text()
    cut = text.rindex("data:image/jpeg;base64,") + 23  # the second card's frames, which no browser can decode
    page.write_text(text[:cut] + "AAAA" + text[cut + 400 :])
    good, second, third = browse(page, CARDS)
    assert good[0] == "" and "Settings, timings and versions" in good[1]
    assert second == ["problem", second[1]] and second[1].endswith(
        "This sample cannot be shown: a picture cannot be decoded"
    )
    assert third == ["problem", f" 002-sampleThis sample cannot be shown: {problems[run / '002-sample']}"]
