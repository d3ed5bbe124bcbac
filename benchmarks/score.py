"""Time of `imap score run`: reading the files of samples, scoring them, and the same command again.

python -m benchmarks.score                                                    # 500 samples of the embedded world's size
python -m benchmarks.score --samples 4 --video 49 480 720 --grid 13 30 45     # of CogVideoX's size

Maps are noise, and two things move. Each sample has four words, two of them motion words. CPU seconds are those of all
processes together; beside other work, they say more than wall seconds.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imap.evaluation.run_scores import jobs_of, score_runs
from imap.map_files import TRUTH
from imap.media.truth import Truth, read_truth, write_truth
from imap.saliency import Maps

WORDS, MOTIONS = ("ball", "kite", "jumps", "turns"), frozenset({"jumps", "turns"})


def write_samples(run: Path, samples: int, keys: int, video: tuple[int, ...], grid: tuple[int, ...]) -> None:
    """Write a run of samples whose maps and truth are made up."""
    frames, height, width = video
    for index in range(samples):
        rng, masks = np.random.default_rng(index), np.zeros((2, *video), bool)
        for thing in range(2):
            for frame, across in enumerate(np.linspace(0, width * 3 // 4, frames).astype(int)):
                masks[thing, frame, height // 2 * thing :, across : across + width // 4][: height // 4] = True
        moving = np.zeros((2, frames), bool)
        moving[:, frames // 4 : frames // 2] = True
        arrays = {f"map_{key}": rng.normal(size=(len(WORDS), *grid)).astype(np.float32) for key in range(keys)}
        folder = run / f"{index:03}-sample"
        Maps(arrays, WORDS, MOTIONS, facts={"pixels": [height, width]}).save(folder)
        write_truth(folder / TRUTH, Truth(WORDS[:2], WORDS[2:], masks, moving))


def read_samples(run: Path) -> None:
    """Read all maps and truths once."""
    for job in jobs_of(run, None, False):
        Maps.load(job.folder)
        read_truth(job.folder / TRUTH)


def timed(name: str, work: Callable[[], object]) -> None:
    """Print wall and CPU seconds of some work, without the start of Python."""
    before = os.times()
    work()
    wall = os.times().elapsed - before.elapsed
    print(f"{name:8} {wall:8.2f} s wall {sum(os.times()[:4]) - sum(before[:4]):8.2f} s CPU")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--keys", type=int, default=8, help="maps of each word")
    parser.add_argument("--video", type=int, nargs=3, default=(25, 64, 64), metavar=("FRAMES", "HEIGHT", "WIDTH"))
    parser.add_argument("--grid", type=int, nargs=3, default=(7, 8, 8), metavar=("FRAMES", "ROWS", "COLUMNS"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_samples(run, options.samples, options.keys, tuple(options.video), tuple(options.grid))
        print(f"{options.samples} samples, {options.keys * len(WORDS)} maps each, {options.workers} processes")
        read_samples(run)  # the first time reads from the disk
        timed("read", lambda: read_samples(run))
        timed("score", lambda: score_runs([run], workers=options.workers))
        timed("again", lambda: score_runs([run], workers=options.workers))


if __name__ == "__main__":
    main()
