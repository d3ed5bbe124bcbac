"""The frozen evaluation split: the same clips for everybody, known by a version and a hash."""

import hashlib
import json
from dataclasses import asdict, dataclass

from imap.errors import ImapError
from imap.shapes.world.scenes import Conditions, Scene, scenes


@dataclass(frozen=True)
class Split:
    """Scenes by a seed that no training uses. hash: of the scenes' numbers, so that a change of the world is seen; how
    they are drawn is held by the clips that are shipped."""

    name: str
    seed: int
    count: int
    conditions: Conditions
    hash: str

    def scenes(self) -> list[Scene]:
        """The split's scenes. Raises ImapError where this machine would draw other ones."""
        drawn = list(scenes(self.seed, self.count, self.conditions))
        found = scene_hash(drawn)
        if found != self.hash:
            raise ImapError(
                f"split {self.name} should have hash {self.hash} and has {found}: the world or numpy's generator "
                "draws other scenes here, and scores would not compare; use the released world, or name a new version"
            )
        return drawn


def scene_hash(drawn: list[Scene]) -> str:
    """First 16 digits of the SHA-256 of scenes, their numbers to nine decimals."""
    plain = json.loads(json.dumps([asdict(scene) for scene in drawn]), parse_float=lambda x: f"{float(x):.9f}")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


SPLITS = {
    split.name: split
    for split in (
        Split("dev-2", 49_000_000, 40, Conditions(), "69cb06606c250ea8"),  # to choose layers and steps on
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
