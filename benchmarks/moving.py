"""How often `imap.evaluation.moving` is right: its estimate against the true flags of the embedded world.

python -m benchmarks.moving                      # a minute on one core
python -m benchmarks.moving --clips 100 --seed 7
"""

import argparse

import numpy as np

from imap.evaluation.moving import estimate_moving
from imap.media.video_io import steady_times
from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import MOVING, Conditions, scenes

CONDITIONS = {
    "plain": Conditions(),
    "texture": Conditions(texture=1.0),
    "texture, camera pans": Conditions(texture=1.0, pan=1.0),
    "occlusion": Conditions(occlusion=1.0),
    "trails": Conditions(trails=1.0),
}
SEED = 70_000_000


def counts(
    conditions: Conditions, clips: int, seed: int, size: tuple[int, int, int], fps: float, jitter: int = 0
) -> dict[str, np.ndarray]:
    """Hits, false alarms, misses and correct rests, in frames of things, in all and by verb.

    jitter: pixels by which each mask is moved at random in each frame, as masks of annotators are.
    """
    found = {name: np.zeros(4, int) for name in ("all", *MOVING, "stays")}
    rng = np.random.default_rng(seed)
    for scene in scenes(seed, clips, conditions):
        drawn = draw([scene], *size)
        masks, true, frames = drawn.masks[0].numpy(), drawn.moving[0].numpy(), drawn.frames[0].numpy()
        for mask in masks if jitter else ():
            for frame in range(len(mask)):
                mask[frame] = np.roll(mask[frame], rng.integers(-jitter, jitter + 1, 2), axis=(0, 1))
        seen = masks.any(axis=(2, 3))
        moving = estimate_moving(masks, frames, steady_times(size[0], fps))
        for thing, m, t, s in zip(scene.things, moving, true, seen, strict=True):
            four = np.array([(m & t)[s].sum(), (m & ~t)[s].sum(), (~m & t)[s].sum(), (~m & ~t)[s].sum()])
            found["all"] += four
            found[thing.verb] += four
    return found


def figures(four: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    hits, alarms, misses, _ = four.tolist()
    return hits / max(hits + alarms, 1), hits / max(hits + misses, 1), 2 * hits / max(2 * hits + alarms + misses, 1)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--size", type=int, nargs=3, default=(49, 120, 180), metavar=("FRAMES", "HEIGHT", "WIDTH"))
    parser.add_argument("--fps", type=float, default=8)
    parser.add_argument("--jitter", type=int, default=0)
    chosen = parser.parse_args()
    print(
        "| clips | precision | recall | F1 | "
        + " | ".join(f"recall {verb}" for verb in MOVING)
        + " | false alarms stays |"
    )
    print("|---|" + "---|" * (len(MOVING) + 4))
    for name, conditions in CONDITIONS.items():
        found = counts(conditions, chosen.clips, chosen.seed, tuple(chosen.size), chosen.fps, chosen.jitter)
        stays = found["stays"]
        cells = [
            *figures(found["all"]),
            *(figures(found[verb])[1] for verb in MOVING),
            stays[1] / max(stays[[1, 3]].sum(), 1),
        ]
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
