"""Entry point: python -m imap.figures NAME [setting=value ...]"""

import logging
import sys
from importlib import import_module

import hydra
from omegaconf import DictConfig

from imap.commandline import errors_in_one_line, main
from imap.presets import config_folder

NAMES = ("teaser", "timesteps", "lambda_2", "qk_matching", "heads", "methods", "separability", "runtime")


def about(name: str) -> str:
    """What a figure shows: the first line of its module."""
    return import_module(f"imap.figures.{name}").__doc__.splitlines()[0]


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="figures")
def run(config: DictConfig) -> None:
    """A figure of the paper, as PNG and PDF, with the numbers behind it as CSV or npy."""
    from imap.figures.study import begin

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "diffusers", "transformers", "fontTools", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with errors_in_one_line():
        study = begin(config, NAME)
        import_module(f"imap.figures.{NAME}").draw(study)


if __name__ == "__main__":
    NAME = sys.argv[1] if len(sys.argv) > 1 else ""
    if NAME not in NAMES:
        print("python -m imap.figures NAME [setting=value ...], where NAME is one of")
        print("\n".join(f"  {name:13} {about(name)}" for name in NAMES))
        sys.exit(NAME not in ("", "-h", "--help"))
    main(run, "figures", f"-m imap.figures {NAME}", sys.argv[2:])
