"""Clips cut into crops: shuffled, in order, or whole, each with its context."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.crops import Crops
from caudal.data.audio.form import Form, Raw
from caudal.data.audio.mel import framed_log_mel, margins
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, check_pass
from caudal.errors import InputError

_TELLING = 64  # crops


@dataclass(frozen=True)
class Frames:
    """Makes the context of crops from their samples and those around them."""

    schema: AudioSchema

    @property
    def reach(self) -> tuple[int, int]:
        """How many samples before and after a crop its spectrum depends on."""
        if not self.schema.mels:
            return 0, 0
        before, after = margins(self.schema.hop, self.schema.window)
        return max(0, before), max(0, after)

    def context(self, wide: Tensor, codes: Tensor) -> Tensor | None:
        """The context (B, C + mels, F) of crops with their surroundings.

        Args:
            wide: whole numbers (B, before + F hop + after), as `reach` says.
            codes: of the labels, (B, C).
        """
        schema = self.schema
        if not schema.mels:
            return codes[:, :, None] if len(schema.context) else None
        before, after = margins(schema.hop, schema.window)
        inner = wide[:, max(0, -before) : wide.shape[1] - max(0, -after)]
        sizes = schema.rate, schema.hop, schema.window, schema.mels
        mels = framed_log_mel(inner / schema.full_scale, *sizes)
        constant = codes[:, :, None].expand(-1, -1, mels.shape[2])
        return torch.cat([constant, mels], dim=1)  # (B, C + mels, F)


class CroppedClips(Clips):
    """Clips whose samples can be had one clip at a time.

    Args:
        schema: what they are.
        names: what each is called.
        lengths: samples of each.
        labels: of each, by name.
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
        """How many crops a shuffled pass has."""
        return self._n_rows

    @property
    @abstractmethod
    def together(self) -> int:
        """How many samples of several clips may be open at a time."""

    @abstractmethod
    def samples(self, index: int) -> np.ndarray:
        """The samples of one whole clip, int16 (T,)."""

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        check_pass(batch_size, skip)
        plan = self._crops.shuffled(seed, self.together)
        whole = len(plan) - len(plan) % batch_size
        yield from self._batches(plan[skip * batch_size : whole], batch_size)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        check_pass(batch_size)
        yield from self._batches(self._crops.ordered(), batch_size)

    def telling(self) -> Iterator[Batch]:
        """The first crops, and all labels; no spectra: their last bits depend on the machine."""
        yield from self._batches(self._crops.ordered()[:_TELLING], _TELLING, spectra=False)
        yield Batch(self.codes, torch.tensor(self.lengths))

    def clip(self, index: int) -> Clip:
        samples = self.samples(index)
        frames = -(-len(samples) // self.schema.hop)
        wide = torch.from_numpy(self._cut(samples, 0, frames)[None]).float()
        context = self._frames.context(wide, self.codes[index][None])
        x = torch.from_numpy(samples[None].astype(np.float32))  # (1, T)
        return Clip(self.names[index], x, None if context is None else context[0])

    def _batches(self, plan: np.ndarray, size: int, spectra: bool = True) -> Iterator[Batch]:
        """Batches of crops (clip, first frame); a clip is open from its first to its last crop."""
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
        """Frames of a clip, with the samples around them on which their spectrum depends (T,)."""
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
        """The samples of all clips."""
        return sum(self.lengths)

    def samples(self, index: int) -> np.ndarray:
        return self._held[index]


class StreamedClips(CroppedClips):
    """Clips that are decoded anew in each pass, each file once.

    Args:
        raws: each recording, and what errors call it.
        together: how many samples of several clips may be open, and mixed, at a time.
    """

    def __init__(
        self,
        schema: AudioSchema,
        names: Sequence[str],
        lengths: Sequence[int],
        labels: Sequence[dict[str, Any]],
        codes: Tensor,
        raws: Sequence[tuple[Raw, str]],
        together: int,
    ) -> None:
        super().__init__(schema, names, lengths, labels, codes)
        self._raws = raws
        self._form = Form(schema)
        self._together = together

    @property
    def together(self) -> int:
        return self._together

    def samples(self, index: int) -> np.ndarray:
        """The samples of one whole clip.

        Raises:
            InputError: its file is no longer what it was.
        """
        raw, place = self._raws[index]
        samples = self._form.read(raw, place)
        if len(samples) != self.lengths[index]:
            raise InputError(f"{place} has changed since it was opened: start again")
        return samples
