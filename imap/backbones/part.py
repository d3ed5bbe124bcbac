"""What all parts of a backbone have in common."""

from abc import ABC
from typing import Any


class Part(ABC):
    """One part of a backbone. It reads a stock pipeline and one transformer of it, and changes neither."""

    pipe: Any
    transformer: Any
