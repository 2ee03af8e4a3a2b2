"""Clips cut into crops: shuffled, in order, or whole, each with its context."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.context import Frames
from caudal.data.audio.crops import Crops
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, check_pass

_TELLING = 64  # crops


class CroppedClips(Clips):
    """Clips whose samples can be had one clip at a time.

    Args:
        schema: what they are.
        names: what each is called.
        lengths: samples of each.
        labels: what is said of each, by name.
        codes: the labels of `schema.context` as numbers, float32 (N, C).
    """

    def __init__(
        self,
        schema: AudioSchema,
        names: Sequence[str],
        lengths: Sequence[int],
        labels: Sequence[dict[str, Any]],
        codes: Tensor,
    ) -> None:
        self.schema = schema
        self.names = names
        self.lengths = lengths
        self.labels = labels
        self.codes = codes
        self._frames = Frames(schema)
        self._crops = Crops(lengths, schema.crop // schema.hop, schema.hop)
        self._n_rows = int(self._crops.counts.sum())

    @property
    def n_rows(self) -> int:
        """Crops of a shuffled pass."""
        return self._n_rows

    @property
    @abstractmethod
    def together(self) -> int:
        """How many samples of several clips may be open at a time."""

    @abstractmethod
    def samples(self, index: int) -> np.ndarray:
        """The samples of one whole clip, int16 (T,)."""

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """About as many crops as cover all clips, each from a random frame on, in full batches."""
        check_pass(batch_size, skip)
        plan = self._crops.shuffled(seed, self.together)
        whole = len(plan) - len(plan) % batch_size
        yield from self._batches(plan[skip * batch_size : whole], batch_size)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Each clip once, cut into crops that follow each other."""
        check_pass(batch_size)
        yield from self._batches(self._crops.ordered(), batch_size)

    def telling(self) -> Iterator[Batch]:
        """The first crops and labels, without spectra: their last bits depend on the machine."""
        yield from self._batches(self._crops.ordered()[:_TELLING], _TELLING, spectra=False)
        yield Batch(self.codes, torch.tensor(self.lengths))

    def clip(self, index: int) -> Clip:
        """One whole clip."""
        samples = self.samples(index)
        frames = -(-len(samples) // self.schema.hop)
        wide = torch.from_numpy(self._cut(samples, 0, frames)[None]).float()
        context = self._frames.context(wide, self.codes[index][None])
        x = torch.from_numpy(samples[None].astype(np.float32))  # (1, T)
        return Clip(self.names[index], x, None if context is None else context[0])

    def _batches(self, plan: np.ndarray, size: int, spectra: bool = True) -> Iterator[Batch]:
        """Batches of crops (clip, first frame); a clip is open from its first to its last one."""
        left = Counter(plan[:, 0].tolist())
        held: dict[int, np.ndarray] = {}
        before = self._frames.reach[0]
        for start in range(0, len(plan), size):
            rows = plan[start : start + size]
            lot = [self._crop(clip, first, held, left) for clip, first in rows.tolist()]
            wide = torch.from_numpy(np.stack(lot)).float()  # (B, before + T + after)
            x = wide[:, None, before : before + self.schema.crop].contiguous()  # (B, 1, T)
            codes = self.codes[rows[:, 0]]
            yield Batch(x, self._frames.context(wide, codes) if spectra else codes)

    def _crop(
        self, clip: int, first: int, held: dict[int, np.ndarray], left: Counter[int]
    ) -> np.ndarray:
        if clip not in held:
            held[clip] = self.samples(clip)
        left[clip] -= 1
        samples = held[clip] if left[clip] else held.pop(clip)
        return self._cut(samples, first, self.schema.crop // self.schema.hop)

    def _cut(self, samples: np.ndarray, first: int, frames: int) -> np.ndarray:
        """Frames of a clip with the samples around that their spectrum takes in, int16 (T,)."""
        before, after = self._frames.reach
        hop = self.schema.hop
        start, stop = first * hop - before, (first + frames) * hop + after
        cut = np.zeros(stop - start, np.int16)
        inside = samples[max(0, start) : stop]
        offset = max(0, -start)
        cut[offset : offset + len(inside)] = inside
        return cut


class MemoryClips(CroppedClips):
    """Clips in memory.

    Args:
        held: the samples of each clip, int16 (T,).
    """

    def __init__(
        self,
        schema: AudioSchema,
        names: Sequence[str],
        held: Sequence[np.ndarray],
        labels: Sequence[dict[str, Any]],
        codes: Tensor,
    ) -> None:
        super().__init__(schema, names, [len(samples) for samples in held], labels, codes)
        self._held = held

    @property
    def together(self) -> int:
        """All of them."""
        return sum(self.lengths)

    def samples(self, index: int) -> np.ndarray:
        """The samples of one whole clip."""
        return self._held[index]
