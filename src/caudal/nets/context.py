"""Context made fit for a net: columns, and frames of what is known of a clip of sound."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.nets.angles import FEATURES, harmonics
from caudal.numerics import uniform

_LONGEST_HOLD = 16
_ONE_HOT, _LEARNED = 1000, 16  # categories up to which features are one-hot; features beyond
_UNKNOWN = -1.0  # the code of no category
_PIECES, _MOST = 16, 512  # features of the place of a number; of all numbers together, at most


class Embedding(nn.Module, ABC):
    """Turns context in the user's units into features that a net can take.

    Attributes:
        n_features: how many there are.
        n_linear: how many of them, the first ones, are for linear maps too; None for all.
    """

    n_features: int
    n_linear: int | None = None

    @abstractmethod
    def forward(self, context: Tensor) -> Tensor:
        """(B, C, ...) to (B, n_features, ...)."""

    def observe(self, context: Tensor) -> None:
        """Takes its statistics from many rows, if any; `caudal.initialize` calls this."""
        return


class ColumnEmbedding(Embedding):
    """Columns (B, C), or (B, C, F) of frames, to features (B, n_features) or (B, n_features, F).

    `levels[i]` is the number of categories of column i, whose codes become one-hot, or, if there
    are more than 1000, rows of a table of 16 learned features. Any other code is a category that
    was never seen, which becomes the mean of all features of the others. 0 levels mean a number,
    standardised with the `mean` and `std` that `observe` has measured. Where `gaps[i]` says that
    numbers may be missing, NaN, one more feature is 1 for a gap, and the number is at its mean.

    With `pieces` the features end with the place of each number among its quantiles, which are
    their edges: between two of them the feature of that piece goes from -1/2 to 1/2, and is one of
    these beyond. With them a net learns steps and bends of a number as easily as its slope. A
    number further from its quantiles than these are from each other is taken to be there, so that
    what a flow says far outside of what it was shown stays where it might be. A number of
    `circles` becomes its `harmonics`, all 0 for a gap, and has no place.
    Reference: On embeddings for numerical features in tabular deep learning (Gorishniy, Rubachev,
    Babenko, 2022), arXiv:2203.05556.
    """

    mean: Tensor
    std: Tensor
    edges: Tensor

    def __init__(
        self,
        levels: Sequence[int],
        gaps: Sequence[bool] = (),
        pieces: bool = False,
        circles: Mapping[int, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.gaps = tuple(gaps) or (False,) * len(self.levels)
        many = {str(i): n for i, n in enumerate(levels) if n > _ONE_HOT}
        tables = {i: nn.Embedding(n, _LEARNED) for i, n in many.items()}
        self.tables: Any = nn.ModuleDict(tables) if tables else {}
        self.circles = dict(circles)  # where each begins, and its period
        widths = (_LEARNED if n > _ONE_HOT else max(n, 1) for n in levels)
        turning = (FEATURES - 1) * len(self.circles)
        self.n_features = sum(widths) + sum(self.gaps) + turning
        self.register_buffer("mean", torch.zeros(len(levels)))
        self.register_buffer("std", torch.ones(len(levels)))
        numbers = [i for i, n in enumerate(levels) if not n and i not in self.circles]
        self.numbers = numbers if pieces else []
        if self.numbers:
            self.n_linear = self.n_features
            each = max(1, min(_PIECES, _MOST // len(self.numbers)))
            self.n_features += each * len(self.numbers)
            self.register_buffer("edges", torch.zeros(len(self.numbers), each + 1))

    def extra_repr(self) -> str:
        return f"levels={self.levels}" + (f", gaps={self.gaps}" if any(self.gaps) else "")

    def forward(self, context: Tensor) -> Tensor:
        context = self._within_reach(context) if self.numbers else context
        shape = (-1, *[1] * (context.ndim - 2))
        standard = (context - self.mean.view(shape)) / self.std.view(shape)
        features = []
        for i, (levels, may_miss) in enumerate(zip(self.levels, self.gaps, strict=True)):
            number = standard[:, i : i + 1]
            if i in self.circles:
                features += self._turned(i, context[:, i], may_miss)
            elif levels:
                features.append(self._category(i, context[:, i].long()))
            elif may_miss:
                features += [number.nan_to_num(0.0), number.isnan().to(number.dtype)]
            else:
                features.append(number)
        features += [self._places(context[:, self.numbers])] if self.numbers else []
        return torch.cat([part.to(context.dtype) for part in features], 1)

    def _within_reach(self, context: Tensor) -> Tensor:
        """The context with each number moved to at most one range beyond those observed."""
        low, high = self.edges[:, 0], self.edges[:, -1]
        high = high.where(high > low, torch.inf)  # nothing was observed, or one number
        context = context.clone()
        numbers = context[:, self.numbers]
        context[:, self.numbers] = numbers.clamp(2 * low - high, 2 * high - low)
        return context

    def _turned(self, column: int, numbers: Tensor, may_miss: bool) -> list[Tensor]:
        """Harmonics of a column's numbers (B, ...) on their circle, and 1 for a gap."""
        low, period = self.circles[column]
        angles = (2 * math.pi / period) * (numbers - low) - math.pi
        turned = harmonics(angles.unsqueeze(1)).nan_to_num(0.0)
        return [turned, numbers.isnan().unsqueeze(1).to(turned.dtype)] if may_miss else [turned]

    def _places(self, numbers: Tensor) -> Tensor:
        """Places (B, N * pieces) of numbers (B, N) among their quantiles; the middle for gaps."""
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        x = numbers.unsqueeze(2)
        inside = ((x - low) / (high - low).where(high > low, 1.0)).clamp(0, 1)
        place = torch.where(high > low, inside, (x >= high).to(x.dtype)) - 0.5
        return place.where(~x.isnan(), 0.0).flatten(1)

    def _category(self, column: int, codes: Tensor) -> Tensor:
        """Features of codes (B, ...) of a column: (B, features, ...)."""
        levels, known = self.levels[column], codes.clamp(0, self.levels[column] - 1)
        if str(column) in self.tables:
            table = self.tables[str(column)]
            rows, mean = table(known), table.weight.mean(0)
        else:
            rows, mean = F.one_hot(known, levels), self.mean.new_tensor(1 / levels)
        return torch.where((codes != known).unsqueeze(-1), mean, rows).movedim(-1, 1)

    @torch.no_grad()
    def observe(self, context: Tensor) -> None:
        dims = [0, *range(2, context.ndim)]
        std, mean = torch.std_mean(context.double(), dims, correction=0)
        for i in torch.tensor(self.gaps).nonzero().flatten().tolist():
            there = context[:, i][~context[:, i].isnan()].double()
            if not len(there):  # its few values are all elsewhere
                there = there.new_zeros(1)
            std[i], mean[i] = torch.std_mean(there, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
        for edges, i in zip(self.edges if self.numbers else (), self.numbers, strict=True):
            edges.copy_(_edges(context[:, i], len(edges)))


def _edges(numbers: Tensor, n: int) -> Tensor:
    """N quantiles of numbers, the first and the last among them, NaN left out.

    Equal numbers count as one piece at most: of an amount that is mostly 0, the others have most
    of the pieces.
    """
    there = numbers[~numbers.isnan()]
    if not len(there):
        return numbers.new_zeros(n)
    values, counts = there.unique(return_counts=True)
    counts = counts.clamp(max=max(1, int(counts.sum()) // (n - 1)))
    ends = counts.cumsum(0)
    wanted = torch.linspace(0, 1, n, device=ends.device) * ends[-1]
    index = torch.searchsorted(ends.to(wanted), wanted).clamp(max=len(values) - 1)
    return values[index]


class Withheld(Embedding):
    """The features of categories (B, C), withheld from a share of the rows while training.

    Such a row has, in each column, a category that was never seen. So one flow learns the density
    of its data given the context and without it, and samples can be guided (`caudal.guided`). In
    evaluation nothing is withheld.
    References: Classifier-free diffusion guidance (Ho, Salimans, 2022), arXiv:2207.12598; for
    flows: Normalizing flows are capable generative models (Zhai et al., 2024), arXiv:2412.06329.

    Raises:
        ValueError: a column holds numbers, of which none says nothing.
    """

    def __init__(self, embedding: ColumnEmbedding, share: float) -> None:
        super().__init__()
        if not all(embedding.levels):
            raise ValueError("only categories can be withheld, and a column holds numbers")
        self.embedding, self.share = embedding, share
        self.n_features = embedding.n_features

    def extra_repr(self) -> str:
        return f"share={self.share:g}"

    def forward(self, context: Tensor) -> Tensor:
        if self.training:
            kept = uniform(context.new_empty(len(context), 1), None) >= self.share
            context = context.where(kept, _UNKNOWN)
        features: Tensor = self.embedding(context)
        return features

    def without(self) -> Tensor:
        """The features (1, n_features) of a context that is withheld."""
        like = self.embedding.mean
        features: Tensor = self.embedding(like.new_full((1, len(like)), _UNKNOWN))
        return features

    def observe(self, context: Tensor) -> None:
        self.embedding.observe(context)


class WithLast(Embedding):
    """The features of another embedding, and after them the last `n` columns as they are.

    For a part of the flow that takes those in their own units, beside the nets, which take the
    features.
    """

    def __init__(self, embedding: Embedding, n: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.n = n
        self.n_features = embedding.n_features + n

    def extra_repr(self) -> str:
        return f"n={self.n}"

    def forward(self, context: Tensor) -> Tensor:
        return torch.cat([self.embedding(context), context[:, -self.n :]], 1)

    def observe(self, context: Tensor) -> None:
        self.embedding.observe(context)


class Conditions(NamedTuple):
    """Rows (n, B, channels), each for the next `hold` samples; a single row is for all samples."""

    rows: Tensor
    hold: int

    def between(self, start: int, stop: int) -> "Conditions":
        """The conditions of a stretch of samples that starts at a multiple of `hold`."""
        if len(self.rows) == 1:
            return self
        return Conditions(self.rows[start // self.hold : -(-stop // self.hold)], self.hold)

    def padded(self, samples: Tensor) -> Tensor:
        """Samples (T, B, 1) with zeros at the end, so that each row has its `hold` samples."""
        if len(self.rows) == 1:
            return samples
        missing = len(self.rows) * self.hold - len(samples)
        return torch.cat([samples, samples.new_zeros(missing, *samples.shape[1:])])


def per_layer(conditions: Tensor | None, layers: int) -> Sequence[Tensor | None]:
    """Conditions (n, B, layers * 2 channels) of each layer: (n, 1, B, 2 channels)."""
    if conditions is None:
        return [None] * layers
    return conditions.unsqueeze(1).chunk(layers, -1)


class Frames(nn.Module):
    """Context (B, C) or (B, C, frames), one frame for `hop` samples, as conditions of samples.

    A convolution over three frames is followed by a transposed one, which starts as linear
    interpolation and ends at steps of `hold` samples (the largest divisor of `hop` up to 16).
    Beyond the ends of the clip the first and the last frame are repeated. A single frame holds for
    the whole clip. Channels after the first `context` ones are for other parts of a flow.
    """

    def __init__(self, context: int, channels: int, hop: int) -> None:
        super().__init__()
        self.context, self.hop = context, hop
        self.hold = max(n for n in range(1, _LONGEST_HOLD + 1) if hop % n == 0)
        self.stride = hop // self.hold
        self.look = nn.Conv1d(context, channels, 3)
        self.up: nn.ConvTranspose1d | None = None
        if self.stride > 1:
            up = nn.ConvTranspose1d(channels, channels, 2 * self.stride, self.stride)
            _interpolate(up)
            self.up = up

    def extra_repr(self) -> str:
        return f"hop={self.hop}, hold={self.hold}"

    def forward(self, context: Tensor, length: int) -> Conditions:
        """The conditions of a clip of `length` samples.

        Raises:
            ValueError: there are fewer frames than the clip needs.
        """
        frames = context if context.dim() == 3 else context.unsqueeze(-1)
        frames = frames[:, : self.context]
        needed = -(-length // self.hop)
        if frames.shape[-1] == 1:
            frames = frames.expand(-1, -1, needed if self.up is not None else 1)
        if frames.shape[-1] < needed and not (self.up is None and frames.shape[-1] == 1):
            raise ValueError(
                f"{length} samples at {self.hop} a frame need {needed} frames of context, "
                f"got {frames.shape[-1]}"
            )
        frames = frames[..., :needed]
        around = 1 if self.up is None else 2  # frames beyond the ends, for both convolutions
        first, last = frames[..., :1], frames[..., -1:]
        h = self.look(torch.cat([first] * around + [frames] + [last] * around, -1))
        h = F.silu(h)
        if self.up is not None:
            start = self.stride + self.stride // 2
            h = self.up(h)[..., start : start + self.stride * needed]
        return Conditions(h.permute(2, 0, 1), self.hold)


def _interpolate(up: nn.ConvTranspose1d) -> None:
    """Makes each channel interpolate linearly between the middles of its frames."""
    stride = up.stride[0]
    middle = stride // 2 + (stride - 1) / 2
    tent = 1 - (torch.arange(2 * stride) - middle).abs() / stride
    with torch.no_grad():
        up.weight.zero_()
        for channel in range(up.in_channels):
            up.weight[channel, channel] = tent.clamp(min=0)
    if up.bias is not None:
        nn.init.zeros_(up.bias)
