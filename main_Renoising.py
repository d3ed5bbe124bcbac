"""Read the maps of real clips: python main_Renoising.py video_path=clip.mp4 prompt="..." concepts="..." """

import hydra
from omegaconf import DictConfig

from imap.cli.main import main
from imap.config.presets import config_folder


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="renoising")
def run(config: DictConfig) -> None:
    """Read real clips: noise them to a step of the schedule, run one forward pass, and write per-frame saliency maps.

    python main_Renoising.py backbone=cogvideox_5b video_path=horse.mp4 prompt="A horse gallops." motions=gallops
    """
    from imap.runs.runner import run_command  # loads torch and diffusers, which --help can do without

    run_command(config, renoising=True)


if __name__ == "__main__":
    main(run, "renoising", "main_Renoising.py")
