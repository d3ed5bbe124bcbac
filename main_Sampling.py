"""Sample videos with their maps: python main_Sampling.py prompt="..." concepts="..." motions="..." """

import hydra
from omegaconf import DictConfig

from imap.cli.main import main
from imap.config.presets import config_folder


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="sampling")
def run(config: DictConfig) -> None:
    """Sample videos from prompts with any stock pipeline, and write per-frame saliency maps of the words in them.

    python main_Sampling.py backbone=cogvideox_5b prompt="A horse gallops." concepts="horse, field" motions=gallops
    """
    from imap.runs.runner import run_command  # loads torch and diffusers, which --help can do without

    run_command(config, renoising=False)


if __name__ == "__main__":
    main(run, "sampling", "main_Sampling.py")
