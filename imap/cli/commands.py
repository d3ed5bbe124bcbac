"""What each command runs. Hydra composes the configuration; the work is in runs, view, figures and shapes."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hydra

from imap.cli.help import manual
from imap.cli.overrides import check_overrides, literal
from imap.config.presets import config_folder
from imap.errors import ImapError
from imap.runs.log import errors_in_one_line, plain_log

# flags of Hydra that make sense here; each comes before any value of its own
HYDRA_FLAGS = (
    "--hydra-help",
    "--version",
    "--cfg",
    "-c",
    "--resolve",
    "--info",
    "-i",
    "--multirun",
    "-m",
    "--run",
    "-r",
)


def run_hydra(work: Callable[[Any], None], config_name: str, program: str, about: str, argv: Sequence[str]) -> None:
    """Compose a configuration from the command line and run `work` on it.

    Texts are taken as typed, mistakes are found before Hydra composes, and errors are one line.

    Args:
        work: gets the composed configuration.
        config_name: of a file in configs/.
        program: name in usage lines.
        about: what --help says first.
        argv: settings and flags.
    """
    arguments = [literal(argument) for argument in argv]
    if {"--help", "-h"} & set(arguments):
        print(manual(config_name, program, about))
        return
    try:
        for flag in arguments:
            if flag.startswith("-") and flag.partition("=")[0] not in HYDRA_FLAGS:
                raise ImapError(f"unknown flag {flag}; settings are written name=value, such as height=480")
        if not any(argument.startswith("-") for argument in arguments):
            check_overrides(config_name, arguments)
        sys.argv[1:] = arguments
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(work)()
    except ImapError as error:
        sys.exit(f"imap: error: {error}")
    except KeyboardInterrupt:
        sys.exit("imap: interrupted; run the same command again to go on")


def sample(argv: Sequence[str], program: str = "imap sample") -> None:
    """Sample videos from prompts with a stock pipeline, and write saliency maps of the words, frame by frame."""
    run_hydra(partial(run_samples, renoising=False), "sampling", program, sample.__doc__ or "", argv)


def renoise(argv: Sequence[str], program: str = "imap renoise") -> None:
    """Read real clips: noise each to a step of the schedule, run one forward pass, and write maps of the words."""
    run_hydra(partial(run_samples, renoising=True), "renoising", program, renoise.__doc__ or "", argv)


def run_samples(config: Any, renoising: bool) -> None:
    """Sample or renoise. Exits with one line if nothing can start, and with status 1 if a sample failed."""
    from imap.runs.runner import run_command  # loads torch and diffusers, which --help does not need

    plain_log()
    with errors_in_one_line():
        tally = run_command(config, renoising)
    if tally.failed:
        sys.exit(1)


def view(argv: Sequence[str], program: str = "imap view") -> None:
    """Draw overlays, strips and the report page of a finished run."""
    from imap.view.__main__ import main

    main(argv, program)


def figures(argv: Sequence[str], program: str = "imap figures") -> None:
    """Draw a figure of the paper."""
    from imap.figures import FIGURES

    name, *rest = argv or ["--help"]
    if name not in FIGURES:
        wanted = name in ("-h", "--help")
        lines = [f"  {known:13} {shows}" for known, shows in FIGURES.items()]
        text = f"usage: {program} NAME [setting=value ...]\n\nNAME is one of\n" + "\n".join(lines)
        print(f"{text}\n\n{program} NAME --help lists the settings.", file=sys.stdout if wanted else sys.stderr)
        sys.exit(0 if wanted else f"imap: error: unknown figure {name!r}")
    about = f"{name}: {FIGURES[name]}, as PNG and PDF, with the numbers behind it as CSV or npy."
    run_hydra(partial(draw_figure, name=name), "figures", f"{program} {name}", about, rest)


def draw_figure(config: Any, name: str) -> None:
    """Load the model and draw one figure."""
    from importlib import import_module

    plain_log()
    with errors_in_one_line():
        from imap.figures.study import begin

        study = begin(config, name)
        import_module(f"imap.figures.{name}").draw(study)


def shapes(argv: Sequence[str], program: str = "imap shapes") -> None:
    """The embedded world: render clips, train small models, benchmark maps."""
    actions = {"render": render, "train": train, "benchmark": benchmark}
    name, *rest = argv or ["--help"]
    if name in actions:
        actions[name](rest, f"{program} {name}")
        return
    wanted = name in ("-h", "--help")
    lines = [f"  {action:10} {(function.__doc__ or '').splitlines()[0]}" for action, function in actions.items()]
    text = f"usage: {program} ACTION [...]\n\n" + "\n".join(lines) + f"\n\n{program} ACTION --help lists the settings."
    print(text, file=sys.stdout if wanted else sys.stderr)
    sys.exit(0 if wanted else f"imap: error: unknown action {name!r} of {program}")


def render(argv: Sequence[str], program: str = "imap shapes render") -> None:
    """Write clips of the embedded world with their ground truth."""
    from imap.shapes.render import main

    main(argv, program)


def train(argv: Sequence[str], program: str = "imap shapes train") -> None:
    """Train a small pipeline on the embedded world: the VAE, then the transformer on its latents.

    The same command resumes an interrupted training. A GPU is used if there is one.
    """
    run_hydra(run_training, "shapes_train", program, train.__doc__ or "", argv)


def run_training(config: Any) -> None:
    """Train as configured."""
    with errors_in_one_line():
        from imap.shapes.training.run import train as run

        run(config)


def benchmark(argv: Sequence[str], program: str = "imap shapes benchmark") -> None:
    """Score all maps against the ground truth of the embedded world.

    The clips of a frozen split are renoised and read.
    """
    run_hydra(run_benchmark, "shapes_benchmark", program, benchmark.__doc__ or "", argv)


def run_benchmark(config: Any) -> None:
    """Run the benchmark as configured."""
    with errors_in_one_line():
        from imap.shapes.benchmark.run import benchmark as run

        run(config)
