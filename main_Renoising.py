"""Read the maps of real clips: python main_Renoising.py video_path=clip.mp4 prompt="..." concepts="..." """

import hydra
from omegaconf import DictConfig

from imap.commandline import main
from imap.presets import config_folder


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="renoising")
def run(config: DictConfig) -> None:
    from imap.doors import run_door  # loads torch and diffusers, which --help can do without

    run_door(config, renoising=True)


if __name__ == "__main__":
    main(run, "renoising")
