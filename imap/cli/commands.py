"""One function per command. Hydra composes the configuration; runs, view, figures and shapes do the work."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import hydra

from imap.cli.help import manual
from imap.cli.main import exit_unknown
from imap.config.overrides import check_overrides, literal
from imap.config.presets import config_folder
from imap.errors import ImapError
from imap.runs.interrupts import ends_on_signals, uninterrupted
from imap.runs.log import errors_in_one_line, plain_log

CONTINUE = "; run the same command again to continue"
# flags of Hydra that work here
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
    """Compose a configuration from the command line and run `work` on it, or print --help.

    Texts are taken as typed. Mistakes are found before Hydra composes. An error is one line, with status 1.

    Args:
        work: receives the composed configuration.
        config_name: of a file in configs/.
        program: name of the command in usage lines.
        about: what the command does, for --help.
        argv: settings and flags.
    """
    arguments = [literal(argument) for argument in argv]
    if {"--help", "-h"} & set(arguments):
        print(manual(config_name, program, about))
        return
    try:
        with ends_on_signals(CONTINUE):
            for flag in arguments:
                if flag.startswith("-") and flag.partition("=")[0] not in HYDRA_FLAGS:
                    raise ImapError(f"unknown flag {flag}; settings are written name=value, such as height=480")
            if not any(argument.startswith("-") for argument in arguments):
                check_overrides(config_name, arguments)
            sys.argv[1:] = arguments
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(work)()
    except ImapError as error:
        sys.exit(f"imap: error: {error}")


def sample(argv: Sequence[str], program: str = "imap sample") -> None:
    """Sample videos from prompts with an unmodified pipeline. Write a saliency map per word and frame."""
    run_hydra(partial(run_samples, renoising=False), "sampling", program, sample.__doc__ or "", argv)


def renoise(argv: Sequence[str], program: str = "imap renoise") -> None:
    """Read the maps of real clips: add noise, run one forward pass, write a map per word and frame."""
    run_hydra(partial(run_samples, renoising=True), "renoising", program, renoise.__doc__ or "", argv)


def run_samples(config: Any, renoising: bool) -> None:
    """Sample or renoise. Exit with one line if nothing can start, and with status 1 if a sample failed."""
    plain_log()
    with errors_in_one_line():
        with uninterrupted():  # a library whose import is cut by an exception may ignore it and fail later
            from imap.runs.runner import run_command  # loads torch and diffusers, which --help does not need

        tally = run_command(config, renoising)
    if tally.failed:
        sys.exit(1)


def view(argv: Sequence[str], program: str = "imap view") -> None:
    """Draw overlays, strips and the report page of a finished run."""
    from imap.view.__main__ import main

    main(argv, program)


def submit(argv: Sequence[str], program: str = "imap submit") -> None:
    """Run a list as an array of SLURM jobs."""
    from imap.runs.submit import main

    with ends_on_signals("; tasks on a cluster go on"):
        main(argv, program)


def status(argv: Sequence[str], program: str = "imap status") -> None:
    """Print how far runs are."""
    from imap.runs.status import main

    main(argv, program)


def gather(argv: Sequence[str], program: str = "imap gather") -> None:
    """Join the output folders of shards into one."""
    from imap.runs.gather import main

    main(argv, program)


def score(argv: Sequence[str], program: str = "imap score") -> None:
    """Score the maps of finished runs."""
    from imap.evaluation.__main__ import main

    with ends_on_signals(CONTINUE):
        main(argv, program)


def backbones(argv: Sequence[str], program: str = "imap backbones") -> None:
    """List the models that imap knows, or check a checkpoint."""
    from imap.cli.backbones import main

    main(argv, program)


def demo(argv: Sequence[str], program: str = "imap demo") -> None:
    """Serve a web page: words and a prompt or a clip in, maps out."""
    from imap.demo.command import main

    main(argv, program)


def figures(argv: Sequence[str], program: str = "imap figures") -> None:
    """Draw a figure of the paper."""
    from imap.figures import FIGURES

    name, *settings = argv or ["--help"]
    if name in ("-h", "--help"):
        print_names(f"{program} NAME", "Draw a figure of the paper.", FIGURES)
    elif name not in FIGURES:
        exit_unknown("figure", name, FIGURES, program)
    else:
        about = f"Draw {name}: {FIGURES[name]}. Write PNG and PDF, and their numbers as CSV or npy."
        run_hydra(partial(draw_figure, name=name), "figures", f"{program} {name}", about, settings)


def print_names(usage: str, about: str, lines: Mapping[str, str]) -> None:
    """Print the help of a command that takes a name. lines: what each name does."""
    names = "\n".join(f"  {name:13} {line}" for name, line in lines.items())
    print(f"usage: {usage} [...]\n\n{about}\n\n{usage.split()[-1]} is one of\n{names}")
    print(f"\n{usage} --help lists the settings.")


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
    name, *arguments = argv or ["--help"]
    if name in ("-h", "--help"):
        lines = {action: (function.__doc__ or "").splitlines()[0] for action, function in actions.items()}
        print_names(f"{program} ACTION", "Work with the embedded world, which has ground truth.", lines)
    elif name not in actions:
        exit_unknown("action", name, actions, program)
    else:
        actions[name](arguments, f"{program} {name}")


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
        from imap.shapes.training.run import train as train_model

        train_model(config)


def benchmark(argv: Sequence[str], program: str = "imap shapes benchmark") -> None:
    """Score all maps against the ground truth of the embedded world, on the clips of a frozen split."""
    run_hydra(run_benchmark, "shapes_benchmark", program, benchmark.__doc__ or "", argv)


def run_benchmark(config: Any) -> None:
    """Run the benchmark as configured."""
    with errors_in_one_line():
        from imap.shapes.benchmark.run import benchmark as score

        score(config)
