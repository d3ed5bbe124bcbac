"""The judge over real HTTP, with faults; its pictures and answers against cases made by hand."""

import csv
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from imap.evaluation.__main__ import main
from imap.evaluation.judge import endpoint as endpoints
from imap.evaluation.judge import grids as pictures
from imap.evaluation.judge.answers import GRADED, read_answer
from imap.evaluation.judge.answers import MALFORMED as IS_MALFORMED
from imap.evaluation.judge.answers import REFUSED as IS_REFUSED
from imap.evaluation.judge.grids import cell_size, grids, png, uniform_frames
from imap.evaluation.judge.protocol import CRITERIA, PROTOCOLS, prompt
from imap.evaluation.judge.replies import Replies, digest
from imap.saliency import Maps
from tests.evaluation.judge_server import BROKEN, BUSY, GOOD, GRADES, MALFORMED, REFUSAL, SLOW, Server, completion

pytest.importorskip("openai")
KEYS = ("sel_imap_layers", "imap_layers")
SECRET = "sk-very-secret-7351"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_DELAY", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(pictures, "LONGER", 24)
    servers = []

    def start(*plan, delay=0.0, faults=None):
        servers.append(Server(plan, delay, faults))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def write_run(folder, samples):
    """A run of small samples, with two maps of the words ball and jumps, all different."""
    for index in range(samples):
        rng = np.random.default_rng(index)
        arrays = {key: rng.normal(size=(2, 2, 2, 3)).astype(np.float32) for key in KEYS}
        video = np.full((5, 16, 24, 3), rng.integers(0, 255, 3), np.uint8)
        facts = {"prompt": f"A ball jumps {index}."}
        Maps(arrays, ("ball", "jumps"), frozenset(["jumps"]), facts=facts).save(
            folder / f"{index:03}-a", video=video, fps=8
        )
    return folder


def judge(run, server, *more):
    main(["judge", str(run), "--endpoint", server.url, "--model", "m", "--timeout", "0.5", "--parallel", "1", *more])


def rows(run):
    with (run / "judge.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def counts(run, key="sel_imap_layers"):
    return json.loads((run / "judge.json").read_text())["counts"][key]


# ---- pictures


def test_frames_are_uniform_from_the_first_to_the_last():
    assert uniform_frames(49) == [0, 4, 9, 13, 17, 22, 26, 31, 35, 39, 44, 48]
    assert uniform_frames(12) == list(range(12))
    assert uniform_frames(5) == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4]


@pytest.mark.parametrize(("size", "cell"), [((480, 720), (213, 320)), ((720, 480), (320, 213)), ((64, 64), (320, 320))])
def test_the_longer_side_of_a_frame_is_320_pixels(size, cell):
    assert cell_size(*size) == cell


def cells(picture):
    """Cells of a grid, in the order of time."""
    return [x for row in np.split(picture, 3, axis=0) for x in np.split(row, 4, axis=1)]


def test_grids_show_the_frames_the_darkened_frames_and_the_map_in_inferno():
    import matplotlib

    frames = np.repeat(np.arange(45, dtype=np.uint8)[:, None, None, None] * 5, 160, axis=1).repeat(320, 2).repeat(3, 3)
    x = np.zeros((12, 1, 2), np.float32)
    x[:, 0, 1] = np.arange(12)  # the right half, growing
    raw, darkened, heat = grids(frames, x, "video")
    assert raw.shape == darkened.shape == heat.shape == (3 * 160, 4 * 320, 3)
    assert [cell[0, 0, 0] for cell in cells(raw)] == [5 * frame for frame in uniform_frames(45)]
    inferno = matplotlib.colormaps["inferno"](np.arange(12) / 11, bytes=True)[:, :3]
    for latent, (a, b, c) in enumerate(zip(cells(raw), cells(darkened), cells(heat), strict=True)):
        np.testing.assert_array_equal(b[:, 0], a[:, 0] // 2)
        above = latent > 2.75  # the mean over the video
        np.testing.assert_array_equal(b[:, -1], a[:, -1] if above else a[:, -1] // 2)
        np.testing.assert_array_equal(c[5, -1], inferno[latent])


def test_the_published_scale_and_mean_are_of_each_frame():
    frames = np.full((45, 160, 320, 3), 200, np.uint8)
    x = np.zeros((12, 1, 2), np.float32)
    x[:, 0, 1] = np.arange(12)
    _, darkened, heat = grids(frames, x, "frame")
    assert [cell[0, -1, 0] for cell in cells(darkened)] == [100] + [200] * 11  # a constant frame has none above
    assert len({tuple(cell[0, -1]) for cell in cells(heat)[1:]}) == 1


def test_a_constant_map_is_dark_and_black():
    _, darkened, heat = grids(np.full((5, 8, 8, 3), 201, np.uint8), np.full((2, 2, 2), 3, np.float32), "video")
    assert (darkened == 100).all() and (heat == heat[0, 0]).all()


def test_png_keeps_every_value():
    picture = np.random.default_rng(0).integers(0, 255, (7, 9, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png(picture)))), picture)


# ---- prompts and answers


def test_the_published_prompt_has_the_caption_and_ours_the_word_too():
    published, ours = (prompt(PROTOCOLS[name], "A {cat} sits.", "jumping") for name in ("published", "ours"))
    assert "A {cat} sits." in published and "A {cat} sits." in ours
    assert "jumping" not in published and "motion word" not in published.lower() and "Motion word: jumping" in ours
    assert "lowest value of the frame" in published and "lowest value of the video" in ours
    assert all(name in published for name in CRITERIA)
    assert (PROTOCOLS["published"].scale, PROTOCOLS["ours"].scale) == ("frame", "video")


def test_scores_are_points_less_one_over_four_and_their_plain_mean():
    answer = read_answer(completion(json.dumps(GRADES)))
    assert answer.status == GRADED and answer.tokens == (1000, 50)
    assert answer.scores() == {"sl": 1, "tl": 0.75, "pr": 0.5, "ss": 0.25, "obj": 0, "mls": 0.5}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "5 4 3 2 1",
        "null",
        "[1, 2, 3, 4, 5]",
        json.dumps({**GRADES, "sparseness": 6}),
        json.dumps({**GRADES, "sparseness": 0}),
        json.dumps({**GRADES, "sparseness": 2.5}),
        json.dumps({**GRADES, "sparseness": 2.0}),
        json.dumps({**GRADES, "sparseness": True}),
        json.dumps({**GRADES, "sparseness": "4"}),
        json.dumps({**GRADES, "more": 4}),
        json.dumps(dict.fromkeys(list(GRADES)[1:], 3)),
        json.dumps(GRADES)[:-1] + ', "sparseness": 5}',
        json.dumps(GRADES)[:-1],
        "[" * 100_000,
    ],
)
def test_what_is_not_five_whole_numbers_is_malformed(content):
    answer = read_answer(completion(content))
    assert answer.status == IS_MALFORMED and np.isnan(list(answer.scores().values())).all()


@pytest.mark.parametrize(
    "reply", ["", "<html>", "[" * 100_000, "[]", "{}", '{"choices": []}', '{"choices": [{}]}', '{"choices": 3}']
)
def test_a_reply_that_is_no_completion_is_malformed(reply):
    assert read_answer(reply).status == IS_MALFORMED


def test_refusals_are_told_by_the_message_the_reason_and_the_filter():
    by_reason = json.loads(completion(json.dumps(GRADES)))
    by_reason["choices"][0]["finish_reason"] = "content_filter"
    codes = ("content_filter", "content_policy_violation", "invalid_prompt")  # of Azure, and of OpenAI
    filtered = [json.dumps({"error": {"code": code, "message": "no"}}) for code in codes]
    for reply in (completion(None, refusal="No."), json.dumps(by_reason), *filtered):
        assert read_answer(reply).status == IS_REFUSED
    assert read_answer(completion(json.dumps(GRADES), refusal=None)).status == GRADED


def test_replies_are_found_by_content(monkeypatch):
    a, b = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    names = {digest(*x) for x in [("m", 0, "t", [a]), ("n", 0, "t", [a]), ("m", None, "t", [a]), ("m", 0, "u", [a])]}
    names |= {digest("m", 0, "t", [b]), digest("m", 0, "t", [a + 1]), digest("m", 0, "t", [a, a])}
    assert len(names) == 7 and digest("m", 0, "t", [a.copy()]) in names
    monkeypatch.setattr("imap.evaluation.judge.replies.SCHEMA", {})
    assert digest("m", 0, "t", [a]) not in names  # another form of the answer


def test_a_damaged_reply_is_asked_for_again(tmp_path):
    replies = Replies(tmp_path / "replies")
    assert replies.get("x") is None
    replies.put("x", "m", "text", "{}")
    assert replies.get("x") == "{}"
    for text in ("", '{"reply"', "[]", '{"reply": 3}'):
        replies.path("x").write_text(text)
        assert replies.get("x") is None


# ---- over HTTP


@pytest.mark.slow
def test_twenty_samples_end_to_end_and_again_without_a_request(serve, tmp_path, capsys, caplog):
    run, server = write_run(tmp_path / "run", 20), serve()
    with caplog.at_level(logging.DEBUG):
        judge(run, server, "--maps", "sel_imap_layers,GramCol", "--parallel", "4", "--price", "200", "100")
    assert len(server.requests) == 40 and len(set(server.texts())) == 20
    request, headers = server.requests[0]
    assert headers["path"] == "/v1/chat/completions" and headers["authorization"] == f"Bearer {SECRET}"
    assert (request["model"], request["temperature"]) == ("m", 0)
    form = request["response_format"]["json_schema"]
    assert form["strict"] and form["schema"]["required"] == list(CRITERIA)
    assert form["schema"]["properties"] == {x: {"type": "integer", "enum": [1, 2, 3, 4, 5]} for x in CRITERIA}
    sent = [
        np.asarray(Image.open(BytesIO(b64decode(part["image_url"]["url"].partition("base64,")[2]))))
        for part in request["messages"][0]["content"][1:]
    ]
    assert [x.shape for x in sent] == [(3 * 16, 4 * 24, 3)] * 3
    table = rows(run)
    assert len(table) == 20 * 2 * 6 and {row["word"] for row in table} == {"jumps"}
    assert {(row["metric"], float(row["value"])) for row in table if row["sample"] == "007-a"} == {
        ("sl", 1), ("tl", 0.75), ("pr", 0.5), ("ss", 0.25), ("obj", 0), ("mls", 0.5),
    }  # fmt: skip
    assert counts(run, "imap_layers") == {"graded": 20, "refused": 0, "malformed": 0, "failed": 0}
    summary = json.loads((run / "judge.json").read_text())
    assert summary["tokens"] == {"read": 40_000, "written": 2000} and summary["means"]["imap_layers"]["mls"] == 0.5
    settings = {"protocol": "published", "model": "m", "endpoint": server.url, "temperature": 0}
    assert {name: summary[name] for name in settings} == settings
    out = capsys.readouterr()
    read = sum(round(3 * 48 * 96 / 750 + len(text) / 4) for text in server.texts())
    cost = (read * 200 + 2400 * 100) / 1e6
    assert f"40 maps, 40 to ask about (120 pictures, about {read} tokens read and 2400 written" in out.out
    assert f"about {cost:.2f} at the given price" in out.out
    everything = out.out + out.err + caplog.text + "".join(x.read_text() for x in run.rglob("*.json"))
    assert SECRET not in everything
    judge(run, server, "--maps", "sel_imap_layers,GramCol")
    assert len(server.requests) == 40 and rows(run) == table
    assert "0 to ask about (0 pictures, about 0 tokens read and 0 written)" in capsys.readouterr().out
    judge(run, server, "--protocol", "ours", "--limit", "3")
    assert len(server.requests) == 43 and "Motion word: jumps" in server.texts()[-1] and len(rows(run)) == 3 * 6


@pytest.mark.slow
def test_twenty_samples_with_three_faults_lose_nothing_and_only_the_time_out_is_asked_again(serve, tmp_path, capsys):
    faults = {"jumps 3.": [SLOW, SLOW], "jumps 7.": [MALFORMED], "jumps 11.": [REFUSAL]}
    run, server = write_run(tmp_path, 20), serve(faults=faults)
    with pytest.raises(SystemExit, match="1 maps had no reply; run the same command again"):
        judge(run, server, "--parallel", "4", "--retries", "1")
    assert len(server.requests) == 21 and sum("jumps 3." in text for text in server.texts()) == 2
    assert counts(run) == {"graded": 17, "refused": 1, "malformed": 1, "failed": 1}
    summary = json.loads((run / "judge.json").read_text())
    bad = {one["sample"]: (one["status"], one["reply"]) for one in summary["not_graded"]}
    assert {sample: status for sample, (status, _) in bad.items()} == {
        "003-a": "failed", "007-a": "malformed", "011-a": "refused",
    }  # fmt: skip
    assert summary["tokens"] == {"read": 19_000, "written": 19 * 50}  # those without a grade are paid too
    first = {path.name: path.read_bytes() for path in (run / "judge/replies").glob("[!.]*.json")}
    raw = {name: json.loads(text)["reply"] for name, text in first.items()}
    assert len(raw) == 19 and f"{bad['003-a'][1]}.json" not in raw
    assert (raw.pop(f"{bad['007-a'][1]}.json"), raw.pop(f"{bad['011-a'][1]}.json")) == (MALFORMED[1], REFUSAL[1])
    assert set(raw.values()) == {GOOD[1]}
    table = rows(run)
    assert len(table) == 20 * 6 and {row["sample"] for row in table if row["value"] == "nan"} == set(bad)

    capsys.readouterr()
    judge(run, server)
    assert "20 maps, 1 to ask about (3 pictures" in capsys.readouterr().out
    assert len(server.requests) == 22 and "jumps 3." in server.texts()[-1]
    assert counts(run) == {"graded": 18, "refused": 1, "malformed": 1, "failed": 0}
    assert [row for row in rows(run) if row["sample"] != "003-a"] == [row for row in table if row["sample"] != "003-a"]
    assert {name: (run / "judge/replies" / name).read_bytes() for name in first} == first

    (run / "judge/replies" / f"{bad['007-a'][1]}.json").unlink()  # what the guide says: to ask about one again
    judge(run, server)
    assert len(server.requests) == 23 and "jumps 7." in server.texts()[-1]
    assert counts(run) == {"graded": 19, "refused": 1, "malformed": 0, "failed": 0}


@pytest.mark.slow
def test_requests_of_different_samples_are_sent_side_by_side(serve, tmp_path):
    run, server = write_run(tmp_path, 7), serve(delay=0.3)
    judge(run, server, "--parallel", "3", "--timeout", "5")
    assert server.most == 3 and len(server.requests) == 7 and counts(run)["graded"] == 7


@pytest.mark.slow
def test_an_interrupt_between_replies_sends_nothing_more(serve, tmp_path, monkeypatch, capsys):
    def interrupted(asked, *_, **__):
        yield next(asked)
        raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.tqdm", interrupted)
    run, server = write_run(tmp_path, 9), serve(delay=0.1)
    with pytest.raises(SystemExit) as stopped:
        judge(run, server, "--parallel", "2", "--timeout", "5")
    assert stopped.value.code == 130 and "replies so far are kept" in capsys.readouterr().err
    sent = len(server.requests)
    assert sent == 2 and len(list((run / "judge/replies").glob("[!.]*.json"))) == sent


def test_faults_that_pass_are_tried_again(serve, tmp_path, caplog):
    run = write_run(tmp_path, 2)
    proxy = (200, "<html>gateway</html>", {})
    server = serve(SLOW, BUSY, BROKEN, proxy, (200, '{"error": {"code": 503}}', {}), GOOD, (408, "", {}), (409, "", {}))
    judge(run, server)
    assert len(server.requests) == 9 and counts(run)["graded"] == 2
    assert caplog.text.count("no reply (") == 7 and "timed out" in caplog.text


def test_delays_double_and_obey_the_endpoint(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_DELAY", 1.0)
    delays = [endpoints._delay(attempt, None) for attempt in range(12)]
    expected = [min(2.0**attempt, 60) for attempt in range(12)]
    assert all(0.75 * x <= delay <= 1.25 * x for x, delay in zip(expected, delays, strict=True))
    assert len({endpoints._delay(0, None) for _ in range(9)}) > 1

    class Response:
        headers = {"retry-after": "7"}  # noqa: RUF012

    assert endpoints._delay(0, Response) == 7
    Response.headers = {"retry-after": "99999"}
    assert endpoints._delay(0, Response) == 600


@pytest.mark.slow
def test_refused_and_malformed_answers_are_counted_and_kept(serve, tmp_path, capsys):
    run = write_run(tmp_path, 6)
    error = json.dumps({"error": {"message": f"filtered {SECRET}", "code": "content_filter"}})
    better = (200, completion(json.dumps({**GRADES, "sparseness": 5})), {})
    server = serve(REFUSAL, MALFORMED, (400, error, {}), GOOD, better, (200, error, {}))
    judge(run, server)
    assert counts(run) == {"graded": 2, "refused": 3, "malformed": 1, "failed": 0}
    values = {row["sample"]: row["value"] for row in rows(run) if row["metric"] == "ss"}
    assert values == {
        "000-a": "nan", "001-a": "nan", "002-a": "nan", "003-a": "0.25", "004-a": "1",
        "005-a": "nan",
    }  # fmt: skip
    summary = json.loads((run / "judge.json").read_text())
    assert summary["means"]["sel_imap_layers"]["ss"] == 0.625
    assert [one["status"] for one in summary["not_graded"]] == ["refused", "malformed", "refused", "refused"]
    kept = [path.read_text() for path in (run / "judge/replies").glob("[!.]*.json")]
    assert len(kept) == 6 and sum("filtered ***" in text for text in kept) == 2 and SECRET not in "".join(kept)
    assert (run / "judge/replies" / f"{summary['not_graded'][1]['reply']}.json").is_file()
    judge(run, server)
    assert len(server.requests) == 6


def test_a_request_without_a_reply_is_asked_again_by_the_next_command(serve, tmp_path, caplog):
    run, server = write_run(tmp_path, 3), serve(GOOD, BROKEN, BROKEN)
    with pytest.raises(SystemExit, match="1 maps had no reply"):
        judge(run, server, "--retries", "1")
    assert caplog.text.count("; again in") == 1  # there is no wait after the last try
    assert len(server.requests) == 4 and counts(run) == {"graded": 2, "refused": 0, "malformed": 0, "failed": 1}
    judge(run, server)
    assert len(server.requests) == 5 and counts(run)["graded"] == 3


@pytest.mark.slow
def test_failures_with_replies_between_them_do_not_stop_the_command(serve, tmp_path):
    run, server = write_run(tmp_path, 6), serve(*[BROKEN, BROKEN, GOOD] * 3)
    with pytest.raises(SystemExit, match="3 maps had no reply"):
        judge(run, server, "--retries", "1")
    assert counts(run)["graded"] == 3


def test_an_endpoint_that_is_down_stops_the_command(serve, tmp_path):
    run, server = write_run(tmp_path, 6), serve(GOOD, *[BROKEN] * 50)
    with pytest.raises(SystemExit, match="3 requests in a row had no reply"):
        judge(run, server, "--retries", "1")
    assert len(server.requests) == 1 + 3 * 2
    server.plan.clear()
    judge(run, server)
    assert len(server.requests) == 7 + 5


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (404, "model_not_found"), (400, None), (429, "insufficient_quota")]
)
def test_errors_that_all_requests_would_meet_stop_at_once_without_the_key(serve, tmp_path, capsys, status, code):
    body = json.dumps({"error": {"message": f"wrong: {SECRET}", "code": code}})
    run, server = write_run(tmp_path, 3), serve((status, body, {}))
    with pytest.raises(SystemExit) as stopped:
        judge(run, server)
    assert "the endpoint refuses requests" in str(stopped.value.code) and len(server.requests) == 1
    assert SECRET not in f"{stopped.value.code}{capsys.readouterr()}" and "***" in str(stopped.value.code)


def test_equal_requests_are_sent_once(serve, tmp_path, capsys):
    x, video = np.random.default_rng(0).normal(size=(2, 2, 2, 3)), np.zeros((5, 16, 24, 3), np.uint8)
    maps = Maps(dict.fromkeys(KEYS, x), ("ball", "jumps"), frozenset(["jumps"]), facts={"prompt": "A ball."})
    maps.save(tmp_path / "000-a", video=video, fps=8)
    server = serve()
    judge(tmp_path, server, "--maps", ",".join([*KEYS, "IMAP"]))  # the label of the first
    assert "2 maps, 1 to ask about (3 pictures" in capsys.readouterr().out
    assert len(server.requests) == 1 and len(rows(tmp_path)) == 12
    assert json.loads((tmp_path / "judge.json").read_text())["tokens"]["read"] == 1000
    judge(tmp_path, server, "--temperature", "none")  # another request
    (first, _), (second, _) = server.requests
    assert first["temperature"] == 0 and "temperature" not in second
    assert first["response_format"]["json_schema"]["strict"] is True
    main(["judge", str(tmp_path), "--dry-run"])
    folder = tmp_path / "judge/dry_run/000-a/jumps/sel_imap_layers"
    sent = [b64decode(part["image_url"]["url"].partition("base64,")[2]) for part in first["messages"][0]["content"][1:]]
    assert sent == [(folder / f"{name}.png").read_bytes() for name in ("raw", "darkened", "heat")]


@pytest.mark.slow
def test_a_kill_in_the_middle_pays_for_nothing_twice(serve, tmp_path):
    run, server = write_run(tmp_path, 12), serve(delay=0.3)
    command = [sys.executable, "-m", "imap.evaluation", "judge", str(run), "--endpoint", server.url, "--model", "m"]
    process = subprocess.Popen([*command, "--parallel", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(server.requests) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list((run / "judge/replies").glob("[!.]*.json")))
    assert kept >= 4 and not (run / "judge.csv").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert counts(run)["graded"] == 12
    hashes = [hashlib.sha256(json.dumps(request).encode()).hexdigest() for request, _ in server.requests]
    assert len(set(hashes)) == 12 and len(hashes) <= 13  # at most the one request that the kill has cut off


@pytest.mark.slow
def test_an_interrupt_ends_waiting_and_keeps_the_reply_under_way(serve, tmp_path):
    later = (429, "{}", {"Retry-After": "60"})
    run, server = write_run(tmp_path, 4), serve(later, GOOD, delay=1)
    command = [sys.executable, "-m", "imap.evaluation", "judge", str(run), "--endpoint", server.url, "--model", "m"]
    command += ["--maps", ",".join(KEYS), "--parallel", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(server.requests) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "replies so far are kept" in errors and "Traceback" not in errors
    assert len(server.requests) == 2 and len(list((run / "judge/replies").glob("[!.]*.json"))) == 1


@pytest.mark.slow
def test_a_dry_run_writes_pictures_and_prompts_and_sends_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)
    run = write_run(tmp_path, 2)
    main(["judge", str(run), "--dry-run", "--protocol", "ours"])
    folder = run / "judge/dry_run/001-a/jumps/sel_imap_layers"
    assert sorted(path.name for path in folder.iterdir()) == ["darkened.png", "heat.png", "prompt.txt", "raw.png"]
    assert (
        "Motion word: jumps" in (folder / "prompt.txt").read_text()
        and "A ball jumps 1." in (folder / "prompt.txt").read_text()
    )
    ours = (folder / "heat.png").read_bytes()
    main(["judge", str(run), "--dry-run", "--protocol", "ours", "--maps", "GramCol"])
    assert (folder.with_name("imap_layers") / "heat.png").read_bytes() != ours
    main(["judge", str(run), "--dry-run", "--limit", "2"])
    assert (folder / "heat.png").read_bytes() != ours  # scaled frame by frame
    assert "2 maps, 2 to ask about (6 pictures" in capsys.readouterr().out and not (run / "judge.csv").exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--maps", "nothing"], "has no maps 'nothing'"),
        (["--maps", ","], "--maps names no map"),
        (["--endpoint", "ftp://x"], "--endpoint takes the base URL"),
        (["--endpoint", "http://me:word@x/v1"], "without a password"),
        (["--endpoint", "http://x/v1?key=3"], "or query"),
        (["--endpoint", ""], "give --endpoint and --model"),
        (["--limit", "0"], "not a whole number from 1"),
        (["--timeout", "-1"], "'-1' is not a number above 0"),
        (["--timeout", "inf"], "not a number above 0"),
        (["--price", "2", "x"], "'x' is not a number above 0"),
        (["--temperature", "hot"], "'hot' is neither none nor a number from 0"),
        (["--temperature", "nan"], "neither none nor a number from 0"),
        (["--temperature", "-0.5"], "neither none nor a number from 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(serve, tmp_path, capsys, more, part):
    run, server = write_run(tmp_path, 1), serve()
    with pytest.raises(SystemExit) as stopped:
        judge(run, server, *more)
    assert part in f"{stopped.value.code}{capsys.readouterr().err}" and server.requests == []


def test_runs_without_motion_words_or_videos_are_refused(serve, tmp_path):
    x, server = np.zeros((1, 2, 2, 3), np.float32), serve()
    Maps({"imap_layers": x}, ("ball",)).save(tmp_path / "a/000-a", video=np.zeros((5, 16, 24, 3), np.uint8), fps=8)
    Maps({"sel_imap_layers": x}, ("jumps",), frozenset(["jumps"])).save(tmp_path / "b/000-a")
    with pytest.raises(SystemExit, match="no sample has a motion word"):
        judge(tmp_path / "a", server)
    with pytest.raises(SystemExit, match="without a video"):
        judge(tmp_path / "b", server)


def test_a_missing_package_and_a_broken_key_are_named(serve, tmp_path, monkeypatch):
    run, server = write_run(tmp_path, 1), serve()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-schlüssel")
    with pytest.raises(SystemExit) as stopped:
        judge(run, server)
    assert "OPENAI_API_KEY holds characters" in stopped.value.code and "sk-" not in stopped.value.code
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(SystemExit, match=r'pip install "imap-video\[eval\]"'):
        judge(run, server)


def test_a_second_process_is_refused(serve, tmp_path):
    from imap.claims import claim

    run, server = write_run(tmp_path, 1), serve()
    with claim(run / "judge"), pytest.raises(SystemExit, match="another process judges"):
        judge(run, server)
    assert server.requests == []
