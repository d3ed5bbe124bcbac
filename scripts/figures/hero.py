"""The README's moving picture: a video beside the maps of all its words, from a folder that a run or maps.save wrote.

python scripts/figures/hero.py outputs/sampling/shapes_cogvideox/000-a-ball-jumps-while-a-kite-grows hero.gif
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imap import Maps
from imap.media.video_io import read_video

SIDE, GAP, HEAD = 160, 6, 24  # pixels


def hero(folder: Path, path: Path) -> None:
    """Write a gif: the video, then each word's map over it, names above."""
    maps, video = Maps.load(folder), read_video(folder / "output.mp4")
    fps = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["fps"]
    columns = {"video": video} | {text: maps.overlay(text, video) for text in maps.texts}
    font = ImageFont.load_default(15)
    frames = []
    for index in range(len(video)):
        sheet = Image.new("RGB", (len(columns) * (SIDE + GAP) - GAP, SIDE + HEAD), "white")
        draw = ImageDraw.Draw(sheet)
        for place, (name, pictures) in enumerate(columns.items()):
            left = place * (SIDE + GAP)
            picture = Image.fromarray(np.ascontiguousarray(pictures[index]))
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, HEAD))
            draw.text((left + SIDE / 2, HEAD / 2), name, fill="black", font=font, anchor="mm")
        frames.append(sheet.quantize(128))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0, optimize=True)


if __name__ == "__main__":
    hero(Path(sys.argv[1]), Path(sys.argv[2]))
