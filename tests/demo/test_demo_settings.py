"""Settings of `imap demo`: those of both commands, and a port."""

import socket
from importlib.metadata import PackageNotFoundError

import pytest

from imap import ImapError
from imap.cli.main import main
from imap.demo import check_gradio, command, examples
from imap.demo.settings import configurations


def test_a_setting_of_both_commands_counts_for_both_and_another_one_for_its_own():
    configs = configurations(
        ["backbone=tiny_wan", "seed=7", "read=both", "renoise_timestep=[3]", "video.resize=stretch"]
    )
    assert [configs[renoising]["seed"] for renoising in (False, True)] == [7, 7]
    assert [configs[renoising]["backbone"]["name"] for renoising in (False, True)] == ["tiny_wan"] * 2
    assert configs[False]["read"] == "both" and configs[True]["renoise_timestep"] == [3]
    assert configs[True]["video"] == {"resize": "stretch", "frames": "uniform", "seconds": None}


@pytest.mark.slow
def test_the_steps_of_a_video_are_those_of_a_clip_only_with_its_indices():
    alone = configurations(["num_inference_steps=5"])
    assert [alone[x]["num_inference_steps"] for x in (False, True)] == [5, 20]
    both = configurations(["num_inference_steps=5", "renoise_timestep=[4]"])
    assert [both[x]["num_inference_steps"] for x in (False, True)] == [5, 5] and both[True]["renoise_timestep"] == [4]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sed=7", "unknown setting 'sed'; did you mean seed?"),
        ("backbone=nothing", "unknown backbone 'nothing'; nearest are"),
        ("--cfg", "unknown flag --cfg; settings are written name=value"),
        ("input_json=a.json", "input_json is no setting of imap demo: the page takes one sample at a time"),
        ("output_dir=a", "output_dir is no setting of imap demo: results are in a temporary folder"),
        ("seed", "cannot read 'seed'; write name=value"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(setting, message):
    with pytest.raises(ImapError) as error:
        configurations([setting])
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_port_is_taken_out_of_the_settings():
    assert command.split_port(["seed=1", "--port", "8000", "read=both"]) == (8000, ["seed=1", "read=both"])
    assert command.split_port(["--port=8001"]) == command.split_port(["demo.port=8001"]) == (8001, [])
    assert command.split_port(["seed=1"]) == (None, ["seed=1"])


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "8e3", "eight", "٨٠٠٠"])
def test_a_port_that_is_none_is_refused(value):
    with pytest.raises(ImapError, match=r"is not a port; set a number from 1 to 65535"):
        command.split_port([f"--port={value}"])
    with pytest.raises(ImapError, match="--port '' is not a port"):
        command.split_port(["--port"])


def test_a_port_in_use_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(command, "page", lambda *settings: pytest.fail("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ImapError, match="in use; choose another one"):
        command.serve([], other.getsockname()[1])


def test_without_gradio_the_command_says_what_to_install(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("imap.demo.version", missing)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "seed=1"])
    assert ended.value.code == (
        'imap: error: imap demo needs gradio, and it is not installed; run pip install "imap-video[demo]" '
        '(in a checkout: pip install -e ".[demo]")'
    )
    monkeypatch.setattr("imap.demo.version", lambda name: "5.49.1")
    with pytest.raises(ImapError, match=r"needs gradio 6, and 5\.49\.1 is installed; run pip install"):
        check_gradio()


def test_help_names_the_port_and_needs_no_gradio(monkeypatch, capsys):
    monkeypatch.setattr("imap.demo.version", lambda name: pytest.fail("looked for"))
    main(["demo", "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: imap demo [--port N] [setting=value ...]") and "Ctrl-C" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shapes_wan", "shapes_cogvideox", "shapes_hunyuanvideo"])
def test_the_examples_hold_only_words_that_the_model_knows(name):
    backbone = configurations([f"backbone={name}"])[False]["backbone"]
    listed = [*examples.prompts(backbone), *examples.clips(backbone)]
    assert len(listed) == 10
    for example in listed:
        words = [*example.concepts.split(", "), *example.motions.split(", ")]
        assert set(words) <= set(backbone["words"]) & set(example.prompt.split())


@pytest.mark.slow
def test_the_page_opens_with_the_words_of_the_command_line():
    typed = configurations(["prompt=a box, it dips", "motions=dips"])[False]
    assert examples.first(typed) == examples.Example("a box, it dips", "", "dips")
    assert examples.first(configurations([])[False]).prompt == "a ball jumps while a kite grows"
    assert examples.first(configurations(["backbone=cogvideox_5b"])[True]).motions == "gallops"
