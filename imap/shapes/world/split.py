"""The frozen evaluation splits: the same clips on every machine, identified by a version and a hash."""

import hashlib
import json
from dataclasses import asdict, dataclass

from imap.errors import ImapError
from imap.shapes.world.scenes import Conditions, Scene, scenes


@dataclass(frozen=True)
class Split:
    """A set of scenes from a seed that training never uses.

    Attributes:
        name: Name of the split, with its version.
        seed: Seed of the scenes.
        count: Number of scenes.
        conditions: Shares of scenes with twins, texture, pan, occlusion and trails.
        hash: Hash of the scenes' numbers, which reveals a change of the world. The shipped clips test the drawing.
    """

    name: str
    seed: int
    count: int
    conditions: Conditions
    hash: str

    def scenes(self) -> list[Scene]:
        """The scenes of the split.

        Raises:
            ImapError: This machine draws other scenes.
        """
        drawn = list(scenes(self.seed, self.count, self.conditions))
        actual = scene_hash(drawn)
        if actual != self.hash:
            raise ImapError(
                f"split {self.name} should have hash {self.hash} and has {actual}: the world or numpy's generator "
                "draws other scenes here, so scores are not comparable; use the released world, or name a new version"
            )
        return drawn


def scene_hash(drawn: list[Scene]) -> str:
    """First 16 digits of the SHA-256 of the scenes, with numbers rounded to nine decimals."""
    plain = json.loads(json.dumps([asdict(scene) for scene in drawn]), parse_float=lambda x: f"{float(x):.9f}")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


SPLITS = {
    split.name: split
    for split in (
        Split("dev-2", 49_000_000, 40, Conditions(), "69cb06606c250ea8"),  # for the choice of layers and steps
        Split("plain-2", 50_000_000, 60, Conditions(), "d0b5fdbe9b697f76"),
        Split(
            "hard-2",
            50_000_001,
            60,
            Conditions(texture=0.5, pan=0.5, occlusion=0.5, trails=0.2),
            "b3b79cb2e2c735c3",
        ),
    )
}
