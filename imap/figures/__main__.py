"""Entry point: python -m imap.figures NAME [setting=value ...]"""

import sys
from importlib import import_module

import hydra
from omegaconf import DictConfig

from imap.cli.main import main
from imap.config.presets import config_folder
from imap.runs.log import errors_in_one_line, plain_log

NAMES = {
    "teaser": "IMAP strips of motion words",
    "methods": "cross attention, ConceptAttention, GramCol and IMAP side by side",
    "timesteps": "a word's map from the noisiest step to the last",
    "lambda_2": "lambda_2 by layer, the layers that it picks, maps of the lowest and the highest",
    "qk_matching": "how well each patch answers a word, with the best one",
    "heads": "CHI against localization, head by head",
    "separability": "IMAP by separability score and number of heads",
    "runtime": "seconds by stage",
}


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="figures")
def run(config: DictConfig) -> None:
    """A figure of the paper, as PNG and PDF, with the numbers behind it as CSV or npy."""
    plain_log()
    with errors_in_one_line():
        from imap.figures.study import begin

        study = begin(config, name)
        import_module(f"imap.figures.{name}").draw(study)


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in NAMES:
        wanted = name in ("-h", "--help")
        lines = [f"  {known:13} {shows}" for known, shows in NAMES.items()]
        print(
            "python -m imap.figures NAME [setting=value ...], where NAME is one of\n" + "\n".join(lines),
            file=sys.stdout if wanted else sys.stderr,
        )
        sys.exit(0 if wanted else f"imap: error: unknown figure {name!r}")
    about = f"{name}: {NAMES[name]}, as PNG and PDF, with the numbers behind it as CSV or npy."
    main(run, "figures", f"-m imap.figures {name}", sys.argv[2:], about)
