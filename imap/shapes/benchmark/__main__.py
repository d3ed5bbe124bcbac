"""Score every map against the embedded world's ground truth: python -m imap.shapes.benchmark"""

import hydra
from omegaconf import DictConfig

from imap.cli.main import main
from imap.config.presets import config_folder
from imap.runs.log import errors_in_one_line


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="shapes_benchmark")
def run(config: DictConfig) -> None:
    """Score cross attention, ConceptAttention, GramCol and IMAP against what the embedded world shows, and when.

    Clips of a frozen split are renoised and read.
    """
    with errors_in_one_line():
        from imap.shapes.benchmark.run import benchmark

        benchmark(config)


if __name__ == "__main__":
    main(run, "shapes_benchmark", "-m imap.shapes.benchmark")
