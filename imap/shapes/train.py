"""Train a small model on the embedded world: python -m imap.shapes.train backbone=shapes_wan"""

import hydra
from omegaconf import DictConfig

from imap.cli.main import main
from imap.config.presets import config_folder
from imap.runs.log import errors_in_one_line


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="shapes_train")
def run(config: DictConfig) -> None:
    """Train a small pipeline on clips of the embedded world: the VAE, then the transformer on its latents.

    The same command goes on where it was stopped. A GPU is used when there is one.
    """
    from imap.shapes.training.run import train

    with errors_in_one_line():
        train(config)


if __name__ == "__main__":
    main(run, "shapes_train", "-m imap.shapes.train")
