"""Long series: crashes, kills and random input, of which a run of all tests takes a share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """How much of each series runs: a share that the seed draws, or all of it (`--soak`).

    The seed is another one every day, so that days together come to everything; a failure
    tells it, and `--seed` repeats it.
    """

    seed: int
    whole: bool = False

    def length(self, whole: int, share: int) -> int:
        """How long a series of like steps is."""
        return whole if self.whole else share

    def drawn(self, every: Sequence[T], share: int) -> list[T]:
        """Members of a series, in their order: the first, the last, and others between them."""
        if self.whole or share >= len(every):
            return list(every)
        middle = sorted(self.chance().sample(range(1, len(every) - 1), max(0, share - 2)))
        return [every[at] for at in (0, *middle, len(every) - 1)]

    def chance(self) -> random.Random:
        """Draws that another run with this seed makes again."""
        return random.Random(self.seed)
