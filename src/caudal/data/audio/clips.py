"""Clips as a source of rows: random crops to train on, whole clips to be scored."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.convention import reflected
from caudal.data.audio.form import Treatment
from caudal.data.audio.mel import framed_log_mel, margins
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, Source, check_pass, permutation

_TELLING = 64  # crops
_OPEN = 4  # at least so many clips are mixed, however long they are


class Clip(NamedTuple):
    """A whole clip: its name, x (1, T) in whole numbers, its context (C, F) or None."""

    name: str
    x: Tensor
    context: Tensor | None


class Clips(Source):
    """Clips in memory, or decoded from their files as they are needed.

    A row is a crop of `schema.crop` samples that starts at a frame; a clip that is shorter is
    followed by silence. The context of a crop is that of its clip in the same frames. An item is
    a whole clip.

    Args:
        schema: what they are.
        names: what each is called.
        lengths: samples of each.
        labels: of each, by name.
        treatments: what was done to each.
        codes: the labels of `schema.context` as numbers, float32 (N, C).
        samples: gives the samples of the clip of a number, int16 (T,).
        together: how many samples of several clips may be open, and mixed, at a time.
    """

    def __init__(
        self,
        schema: AudioSchema,
        names: Sequence[str],
        lengths: Sequence[int],
        labels: Sequence[dict[str, Any]],
        treatments: Sequence[Treatment],
        codes: Tensor,
        samples: Callable[[int], np.ndarray],
        together: int,
    ) -> None:
        self.schema = schema
        self.names = names
        self.lengths = lengths
        self.labels = labels
        self.treatments = treatments
        self.codes = codes
        self.samples = samples
        self.together = together
        asked = schema.hop, schema.window, schema.convention
        self._margins = margins(*asked) if schema.mels else (0, 0)
        self._crops = Crops(lengths, schema.crop // schema.hop, schema.hop)
        self._n_rows = int(self._crops.counts.sum())

    @property
    def n_rows(self) -> int:
        """How many crops a shuffled pass has."""
        return self._n_rows

    @property
    def row_numbers(self) -> int:
        """How many samples a crop has."""
        return self.schema.crop

    @property
    def n_items(self) -> int:
        """How many clips there are."""
        return len(self.names)

    @property
    def items_at_a_time(self) -> int:
        """One: clips differ in length."""
        return 1

    @property
    def seconds(self) -> list[float]:
        """How long each clip is."""
        return [length / self.schema.rate for length in self.lengths]

    @property
    def duration(self) -> float:
        """Seconds of all clips together."""
        return sum(self.lengths) / self.schema.rate

    @property
    def n_padded(self) -> int:
        """How many clips are shorter than a crop."""
        return sum(length < self.schema.crop for length in self.lengths)

    def items(self, limit: int | None = None, rows: int | None = None) -> Iterator[Batch]:
        """Every clip whole and in order, as a batch of one: clips differ in length.

        With a limit, so many clips from all over the source, always the same ones.
        """
        indices = list(range(self.n_items))
        if limit is not None and limit < self.n_items:
            indices = sorted(permutation(self.n_items, 0)[:limit].tolist())
        for index in indices:
            _, x, context = self.clip(index)
            yield Batch(x[None], None if context is None else context[None])

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """About as many crops as cover all clips, each from a random frame on, in full batches."""
        check_pass(batch_size, skip)
        plan = self._crops.shuffled(seed, self.together)
        whole = len(plan) - len(plan) % batch_size
        yield from self._batches(plan[skip * batch_size : whole], batch_size)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Each clip once, cut into successive crops, the last of which ends with the clip.

        That one overlaps with the one before it, so there may be more crops than `n_rows`.
        """
        check_pass(batch_size)
        yield from self._batches(self._crops.ordered(), batch_size)

    def telling(self) -> Iterator[Batch]:
        """The first crops, and all labels; no spectra: their last bits depend on the machine."""
        yield from self._batches(self._crops.ordered()[:_TELLING], _TELLING, spectra=False)
        yield Batch(self.codes, torch.tensor(self.lengths))

    def clip(self, index: int) -> Clip:
        """One whole clip."""
        samples = self.samples(index)
        frames = -(-len(samples) // self.schema.hop)
        wide = torch.from_numpy(self._cut(samples, 0, frames)[None]).float()
        context = self._context(wide, self.codes[index][None])
        x = torch.from_numpy(samples[None].astype(np.float32))  # (1, T)
        return Clip(self.names[index], x, None if context is None else context[0])

    def _batches(self, plan: np.ndarray, size: int, spectra: bool = True) -> Iterator[Batch]:
        """Batches of crops (clip, first frame); a clip is open from its first to its last crop."""
        left = Counter(plan[:, 0].tolist())
        held: dict[int, np.ndarray] = {}
        before = max(0, self._margins[0])
        for start in range(0, len(plan), size):
            rows = plan[start : start + size]
            lot = []
            for clip, first in rows.tolist():
                if clip not in held:
                    held[clip] = self.samples(clip)
                left[clip] -= 1
                samples = held[clip] if left[clip] else held.pop(clip)
                silence = max(0, self.schema.crop - len(samples))
                padded = np.pad(samples, (0, silence)) if silence else samples
                lot.append(self._cut(padded, first, self._crops.frames))
            wide = torch.from_numpy(np.stack(lot)).float()  # (B, before + T + after)
            x = wide[:, None, before : before + self.schema.crop].contiguous()  # (B, 1, T)
            codes = self.codes[rows[:, 0]]
            yield Batch(x, self._context(wide, codes) if spectra else codes)

    def _cut(self, samples: np.ndarray, first: int, frames: int) -> np.ndarray:
        """Frames of a clip, with the samples around them on which their spectrum depends (T,)."""
        before, after = (max(0, margin) for margin in self._margins)
        hop = self.schema.hop
        start, stop = first * hop - before, (first + frames) * hop + after
        if self.schema.convention.edges == "reflect" and self.schema.mels:
            return samples[reflected(np.arange(start, stop), len(samples))]
        cut = np.zeros(stop - start, np.int16)
        inside = samples[max(0, start) : stop]
        offset = max(0, -start)
        cut[offset : offset + len(inside)] = inside
        return cut

    def _context(self, wide: Tensor, codes: Tensor) -> Tensor | None:
        """The context (B, C + mels, F) of crops.

        Args:
            wide: whole numbers (B, before + F hop + after), as `_cut` gives them.
            codes: of the labels, (B, C).
        """
        schema = self.schema
        if not schema.mels:
            return codes[:, :, None] if len(schema.context) else None
        before, after = self._margins
        inner = wide[:, max(0, -before) : wide.shape[1] - max(0, -after)]
        sizes = schema.rate, schema.hop, schema.window, schema.mels, schema.convention
        mels = framed_log_mel(inner / schema.full_scale, *sizes)
        constant = codes[:, :, None].expand(-1, -1, mels.shape[2])
        return torch.cat([constant, mels], dim=1)  # (B, C + mels, F)


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
