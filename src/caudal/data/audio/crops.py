"""Which crops of which clips a pass goes through, by the lengths of the clips alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

_OPEN = 4  # at least so many clips are mixed, however long they are


@dataclass(frozen=True)
class Crops:
    """Crops of `frames` frames of `hop` samples, which start and end with frames of their clip.

    A shorter clip gives one crop, from its start on. The samples of an incomplete last frame are
    in no crop: the silence after them would be made up.

    Args:
        lengths: samples of each clip.
        frames: of a crop.
        hop: samples of a frame.
    """

    lengths: Sequence[int]
    frames: int
    hop: int

    @property
    def counts(self) -> np.ndarray:
        """How many crops of each clip a shuffled pass has: about as many as cover the clip."""
        lengths = np.asarray(self.lengths, np.int64)
        return np.maximum(1, np.floor(lengths / (self.frames * self.hop) + 0.5)).astype(np.int64)

    @property
    def rooms(self) -> np.ndarray:
        """The last frame, from 0, at which a crop of each clip can start."""
        return np.maximum(0, np.asarray(self.lengths, np.int64) // self.hop - self.frames)

    def shuffled(self, seed: int, together: int) -> np.ndarray:
        """The clip and the first frame of each crop of a shuffled pass: int64 (N, 2).

        Clips come in a random order, and the crops of successive ones are mixed as long as these
        have at most `together` samples: that is how much of the data is open at a time.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        clips = np.repeat(order, self.counts[order])
        numbers = torch.rand(2, len(clips), dtype=torch.float64, generator=generator).numpy()
        starts = (numbers[0] * (self.rooms[clips] + 1)).astype(np.int64)
        groups = np.repeat(self._groups(order, together), self.counts[order])
        return np.stack([clips, starts], axis=1)[np.lexsort((numbers[1], groups))]

    def ordered(self) -> np.ndarray:
        """Like `shuffled`, of successive crops; the last crop of a clip ends with the clip."""
        crops: list[tuple[int, int]] = []
        for clip, room in enumerate(self.rooms.tolist()):
            starts = [*range(0, room, self.frames), room]
            crops += [(clip, start) for start in starts]
        return np.array(crops, np.int64).reshape(-1, 2)

    def _groups(self, order: np.ndarray, together: int) -> np.ndarray:
        """The number of the group to which each clip belongs, the clips being in that order."""
        groups = np.zeros(len(order), np.int64)
        group = held = count = 0
        for index, length in enumerate(np.asarray(self.lengths)[order].tolist()):
            if held + length > together and count >= _OPEN:
                group, held, count = group + 1, 0, 0
            groups[index] = group
            held, count = held + length, count + 1
        return groups
