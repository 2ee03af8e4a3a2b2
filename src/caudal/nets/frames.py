"""What is known of a clip beside its samples, frame by frame, brought near the rate of samples."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_LONGEST_HOLD = 16


class Conditions(NamedTuple):
    """Rows (n, B, channels), each for the next `hold` samples; a single row is for all of them."""

    rows: Tensor
    hold: int

    def between(self, start: int, stop: int) -> "Conditions":
        """Those of a stretch of samples that starts at a multiple of `hold`."""
        if len(self.rows) == 1:
            return self
        return Conditions(self.rows[start // self.hold : -(-stop // self.hold)], self.hold)


class Frames(nn.Module):
    """Context (B, C) or (B, C, frames), one frame for `hop` samples, as conditions of samples.

    A convolution over three frames, then in steps of `hold` samples (the largest divisor of
    `hop` up to 16) a transposed one, which starts as linear interpolation. Outside of the clip
    the frames are as at its ends. A single frame holds for the whole clip.
    """

    def __init__(self, context: int, channels: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.hold = max(n for n in range(1, _LONGEST_HOLD + 1) if hop % n == 0)
        self.stride = hop // self.hold
        self.look = nn.Conv1d(context, channels, 3)
        self.up: nn.ConvTranspose1d | None = None
        if self.stride > 1:
            up = nn.ConvTranspose1d(channels, channels, 2 * self.stride, self.stride)
            _interpolate(up)
            self.up = up

    def forward(self, context: Tensor, length: int) -> Conditions:
        """The conditions of a clip of that many samples.

        Raises:
            ValueError: there are fewer frames than the clip needs.
        """
        frames = context if context.dim() == 3 else context.unsqueeze(-1)
        needed = -(-length // self.hop)
        if frames.shape[-1] == 1:
            frames = frames.expand(-1, -1, needed if self.up is not None else 1)
        if frames.shape[-1] < needed and not (self.up is None and frames.shape[-1] == 1):
            raise ValueError(
                f"{length} samples at {self.hop} a frame need {needed} frames of context, "
                f"got {frames.shape[-1]}"
            )
        frames = frames[..., :needed]
        around = 1 if self.up is None else 2  # beyond the ends, for both convolutions
        first, last = frames[..., :1], frames[..., -1:]
        h = self.look(torch.cat([first] * around + [frames] + [last] * around, -1))
        h = F.silu(h)
        if self.up is not None:
            start = self.stride + self.stride // 2
            h = self.up(h)[..., start : start + self.stride * needed]
        return Conditions(h.permute(2, 0, 1), self.hold)


def _interpolate(up: nn.ConvTranspose1d) -> None:
    """Each channel by itself, a line from the middle of a frame to that of the next."""
    stride = up.stride[0]
    middle = stride // 2 + (stride - 1) / 2
    tent = 1 - (torch.arange(2 * stride) - middle).abs() / stride
    with torch.no_grad():
        up.weight.zero_()
        for channel in range(up.in_channels):
            up.weight[channel, channel] = tent.clamp(min=0)
    if up.bias is not None:
        nn.init.zeros_(up.bias)
