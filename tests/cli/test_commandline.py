"""The `imap` command: texts arrive as typed, help is complete, and errors are one line."""

import os
import random
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import imap
from imap import ImapError
from imap.cli.commands import run_hydra
from imap.cli.help import EXAMPLES, manual, setting_groups
from imap.cli.main import COMMANDS, main
from imap.config.overrides import TEXTS, check_overrides, literal
from imap.config.presets import config_folder
from imap.config.samples import split_texts
from imap.runs.log import errors_in_one_line

ROOT = Path(__file__).parents[2]
NASTY = [
    # what Hydra's grammar gives a meaning
    *[
        "a, b",
        ",",
        "a,b,c",
        "a=b",
        "=",
        "==",
        "[a, b]",
        "[",
        "{a: b}",
        "}",
        "(a)",
        "a: b",
        ":",
        "glob(*)",
        "choice(a,b)",
    ],
    *["range(1,2)", "sort(b,a)", "int(3)", "a|b", "@x", "~a", "+a", "-a", "--help", "*", "/", "..", "?", "a ??? b"],
    # quotes and backslashes, at every place
    *["it's", "'", "''", "'a'", "a'", '"quoted"', '"', '""', 'a "b" c', '"a', 'a"', '"it\'s"', "`a`"],
    *[
        "\\",
        "\\\\",
        "a\\",
        "a\\\n",
        "a'\\\n",
        "a\\\\",
        '\\"',
        'a\\"',
        '\\\\"',
        '\\\\\\"',
        "\\'",
        "\\,",
        "\\=",
        "\\n",
        "\\t",
        "a\\ b",
        "C:\\a\\",
    ],
    # what OmegaConf takes for a reference
    *[
        "${seed}",
        "${oc.env:HOME}",
        "${",
        "$",
        "$$",
        "$${seed}",
        "\\${seed}",
        "\\\\${seed}",
        "${${seed}}",
        '${"a"}',
        "${'",
    ],
    *['x${a}y"z\\', "\\\\\\${a}\\\\\\", '"${seed}"', "'${seed}'", "}${", "${seed}\\", "100 $"],
    # what YAML, printf and shells give a meaning
    *["50%", "%s %(name)s", "#no", "a # b", "&a", "!t", ">", "<", "- a", "--- a", "%YAML 1.2"],
    # what looks like another type
    *[
        "NULL",
        "Null",
        "null ",
        " null",
        "nullify",
        "None",
        "~",
        "true",
        "False",
        "1",
        "-1",
        "1e5",
        "0x10",
        "nan",
        "inf",
        "1_000",
    ],
    # white space and other alphabets
    *[
        "  lead",
        "trail  ",
        " ",
        "\t",
        "a\nb",
        "a\r\nb",
        "\n",
        "a\n\n  b\n",
        "a\tb",
        "\xa0a\u2028b\u200b",
        "\x07\x0b\x1b[0m",
    ],
    *["🎈🏽 ball", "日本の犬", "żółw", "كلب", "e\u0301"],
]


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices("ab \\\"'${}[](),=:#%\n\t.~-+*/&|é🎈", k=rng.randint(1, 16))) for _ in range(count)]


def composed(*arguments: str, command: str = "renoising") -> dict:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose(command, [literal(argument) for argument in arguments])
    return OmegaConf.to_container(config, resolve=True)


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch):
    """Puts sys.argv back."""
    monkeypatch.setattr(sys, "argv", ["main.py"])


def value_of(config, name: str):
    group, _, key = name.rpartition(".")
    return config[group][key] if group else config[key]


@pytest.mark.slow
def test_every_text_arrives_as_typed():
    texts = [*NASTY, *random_texts(36)]
    names = list(TEXTS)
    lost = {}
    for start in range(0, len(texts), len(names)):
        typed = dict(zip(names, texts[start : start + len(names)], strict=False))
        config = composed(*(f"{name}={text}" for name, text in typed.items()))
        for name, text in typed.items():
            got = value_of(config, name)
            if got != text:
                lost[name, text] = got
    assert not lost


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_setting_is_taken_literally(name: str):
    text = 'a "b", it\'s ${seed} = [c]: \\'
    config = composed(f"{name}={text}")
    assert value_of(config, name) == text


def test_an_empty_value_and_null_keep_their_meaning():
    assert composed("prompt=", "concepts=null")["prompt"] == ""
    assert composed("prompt=", "concepts=null")["concepts"] is None


def test_other_settings_keep_hydras_grammar():
    config = composed("imap_layer=[0,2]", "seed=7", "softmax=true", "num_frames=${seed}", "maps_layers=null")
    assert config["imap_layer"] == [0, 2] and config["seed"] == 7 and config["softmax"] is True
    assert config["num_frames"] == 7 and config["maps_layers"] is None
    assert literal("imap_layer=[0,2]") == "imap_layer=[0,2]" and literal("--help") == "--help"


@pytest.mark.parametrize(
    "typed", ["ball,dog", "ball, dog", " ball ,dog ", '"ball,dog"', "[ball,dog]", "[ball, dog]", "['ball', \"dog\"]"]
)
def test_concepts_are_the_same_however_a_list_is_typed(typed: str):
    assert split_texts(composed(f"concepts={typed}")["concepts"]) == ("ball", "dog")


@pytest.mark.parametrize("text", ['a "b", it\'s = ${seed}\\', "--help", "a\nb", *random_texts(1)])
def test_a_text_passes_through_hydras_command_line(text: str, arguments: None):
    seen = []

    def work(config):
        seen.append(OmegaConf.to_container(config, resolve=True))

    run_hydra(work, "sampling", "imap sample", "", [f"prompt={text}", "seed=3"])
    assert seen[0]["prompt"] == text and seen[0]["seed"] == 3


def test_a_text_survives_a_real_shell_and_printing_it_loads_no_torch():
    text = 'a "b", it\'s ${seed} = [c]: 50% #1 \\'
    code = (
        "import sys, runpy; sys.argv[0] = 'main_Sampling.py'; runpy.run_path('main_Sampling.py', run_name='__main__')"
    )
    code += "; print('# torch is', 'torch' in sys.modules)"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} --cfg job {shlex.quote('prompt=' + text)}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert OmegaConf.create(shown.stdout).prompt == text
    assert "# torch is False" in shown.stdout


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize(("command", "config_name"), [("sample", "sampling"), ("renoise", "renoising")])
def test_help_lists_every_setting_with_its_meaning_and_runs_nothing(command: str, config_name: str, flag: str, capsys):
    main([command, "prompt=a", flag])
    shown = capsys.readouterr().out
    config = composed(command=config_name)
    nested = [f"{group}.{x}" for group in ("video", "shard") for x in config.get(group, {})]
    names = [x for x in config if x not in ("backbone", "video", "shard")] + nested
    hidden = ("name", "family", "num_layers", "num_heads", "weights_gb", "paper", "demo", "words")
    names += [f"backbone.{x}" for x in config["backbone"] if x not in hidden]
    assert [name for name in names if not re.search(rf"^  {re.escape(name)} +\S", shown, re.MULTILINE)] == []
    assert f"usage: imap {command} [setting=value ...]" in shown and "hydra/job_logging" not in shown
    assert "cogvideox_5b" in shown and "tiny_wan" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("config_name", EXAMPLES)
def test_long_examples_continue_on_the_next_line(config_name: str):
    shown = manual(config_name, "python scripts/with/a/long/name/main_Renoising.py", "About.")
    assert max(map(len, shown.splitlines())) <= 100
    commands = shown.partition("examples:\n")[2].partition("\n\n")[0].replace(" \\\n", " ").splitlines()
    assert len(commands) == len(EXAMPLES[config_name])
    assert [shlex.split(line)[2:] for line in commands] == [shlex.split(example) for example in EXAMPLES[config_name]]


@pytest.mark.parametrize("config_name", ["sampling", "renoising", "figures", "shapes_train", "shapes_benchmark"])
def test_every_setting_has_a_title_and_a_meaning(config_name: str):
    groups = setting_groups(config_name)
    assert all(group.title and group.settings for group in groups) and len(groups) > 1
    assert [x.name for group in groups for x in group.settings if not x.meaning] == []


def test_a_setting_is_read_with_its_default_and_meaning():
    settings = {x.name: x for group in setting_groups("renoising") for x in group.settings}
    assert settings["video.resize"].default == "none" and "crop" in settings["video.resize"].meaning
    assert settings["height"].default == "paper" and settings["prompt"].default == ""
    assert settings["seed"].default == "42" and settings["backbone.dtype"].default == "auto"
    assert settings["output_dir"].default == "outputs/renoising/BACKBONE"


def test_a_model_setting_has_the_default_that_all_backbones_of_the_command_share():
    settings = {x.name: x for group in setting_groups("sampling") for x in group.settings}
    small = {x.name: x for group in setting_groups("shapes_benchmark") for x in group.settings}
    assert settings["backbone.id"].default == settings["backbone.vae_tiling"].default == "by backbone"
    assert small["backbone.id"].default == "" and small["backbone.vae_tiling"].default == "false"
    assert settings["backbone.id"].meaning == small["backbone.id"].meaning


def test_titles_start_with_the_words_and_the_model_and_end_with_long_lists():
    titles = [group.title for group in setting_groups("sampling")]
    assert titles == ["What to look for", "Model", "Sampling", "Maps", "Beyond the paper", "Output", "Long lists"]
    assert setting_groups("shapes_train")[0].title == "Run"


def test_the_overview_lists_every_command_and_loads_no_torch_and_no_hydra():
    code = "import sys; from imap.cli.main import main; main([]); "
    code += "print(sorted({'torch', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.endswith("[]\n") and all(re.search(rf"^  {name} +\S", shown, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["sampel"], "unknown command 'sampel'; did you mean imap sample?"),
        (["nothing"], f"unknown command 'nothing'; choose from {', '.join(COMMANDS)}"),
        (["figures", "tezer"], "unknown figure 'tezer'; did you mean imap figures teaser?"),
        (["shapes", "trian"], "unknown action 'trian'; did you mean imap shapes train?"),
    ],
)
def test_an_unknown_name_gets_one_line_with_a_suggestion_and_status_2(argv: list[str], line: str, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2 and capsys.readouterr().err == f"imap: error: {line}\n"


def test_the_version_is_that_of_the_package(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"imap {imap.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["figures"], "teaser"),
        (["figures", "teaser", "--help"], "usage: imap figures teaser [setting=value ...]"),
        (["shapes"], "benchmark"),
        (["shapes", "train", "--help"], "denoiser.steps"),
        (["shapes", "benchmark", "--help"], "plain-2"),
    ],
)
def test_commands_with_names_explain_themselves(argv: list[str], part: str, capsys):
    with suppress(SystemExit):
        main(argv)
    assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promt=a"], "unknown setting 'promt'; did you mean prompt?"),
        (["backbone.dytpe=float32"], "unknown setting 'backbone.dytpe'; did you mean backbone.dtype?"),
        (["+zzz=1"], "unknown setting 'zzz'; --help lists all settings"),
        (["prompt=a", "red", "ball"], "cannot read 'red'"),
        (
            ["backbone=tiny"],
            "unknown backbone 'tiny'; nearest are tiny_wan, ",
        ),
        (["method=imapp"], "unknown method 'imapp'; choose from imap"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_hint(arguments: list[str], message: str):
    with pytest.raises(ImapError) as error:
        check_overrides("sampling", [literal(argument) for argument in arguments])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "argument",
    ["seed=[1", "seed={", "prompt", "backbone=null", "~seed", "experiment=foo", "hydra.run.dri=a", "seed.a=1", "fps='"],
)
def test_an_override_that_hydra_cannot_compose_is_an_error_of_one_line(argument: str):
    with pytest.raises(ImapError) as error:
        check_overrides("sampling", [literal(argument)])
    assert "\n" not in str(error.value) and str(error.value).strip()


def test_an_invalid_value_is_an_error_with_the_settings_name():
    with pytest.raises(ImapError, match="imap_layer"):
        check_overrides("sampling", ["imap_layer=[1,2"])


def test_a_reference_to_an_unknown_setting_is_an_error_of_one_line():
    with pytest.raises(ImapError, match="widht"):
        check_overrides("sampling", ["height=${widht}"])


@pytest.mark.parametrize(
    "override", ["backbone.demo.prompt=a", "backbone.paper.height=32", "hydra.verbose=false", "++seed=1"]
)
def test_known_settings_pass(override: str):
    check_overrides("sampling", [override])


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_continue(arguments: None, capsys):
    def work(config):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run_hydra(work, "sampling", "imap sample", "", [])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "imap: interrupted; run the same command again to continue\n"


def test_an_error_is_one_line_and_a_status(arguments: None):
    def work(config):
        with errors_in_one_line():
            raise ImapError("no such thing; do another")

    with pytest.raises(SystemExit) as stop:
        run_hydra(work, "sampling", "imap sample", "", [])
    assert stop.value.code == "imap: error: no such thing; do another"


def test_a_reader_that_leaves_early_and_ctrl_c_end_in_no_traceback():
    shell = f"{sys.executable} -m imap --help | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stdout.startswith("imap shows") and done.stderr == ""
    stop = "lambda: signal.raise_signal(signal.SIGINT)"
    interrupted = f"import imap.cli.main as m, signal; m.overview = {stop}; m.main(['help'])"
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr == "imap: interrupted\n"
