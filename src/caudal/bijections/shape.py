"""Views within which a bijection works: squeezed, one half, flattened, of another context."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, Within


class Squeezed(Within):
    """Runs a bijection at half the resolution: (C, H, W) as (4 C, H / 2, W / 2), and back.

    Each square of 2 x 2 pixels becomes the channels of one pixel. Its two diagonals follow each
    other, so that the first half of the channels is a checkerboard of the image in all colours:
    a channel mask keeps this half, and this half goes on to the next scale.
    Reference: Real-NVP (Dinh, Sohl-Dickstein, Bengio, 2017), arXiv:1605.08803.
    """

    def take(self, event: Tensor) -> Tensor:
        height, width = event.shape[2:]
        if height % 2 or width % 2:
            raise ValueError(
                f"cannot squeeze {height}x{width} to half of it: give even height and width"
            )
        even, odd = event[:, :, ::2], event[:, :, 1::2]
        corners = [even[..., ::2], odd[..., 1::2], even[..., 1::2], odd[..., ::2]]
        # In this memory order convolutions are up to twice as fast on a CPU.
        return torch.cat(corners, 1).contiguous(memory_format=torch.channels_last)

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        top_left, bottom_right, top_right, bottom_left = taken.chunk(4, 1)
        even = torch.stack([top_left, top_right], 4).flatten(3)
        odd = torch.stack([bottom_left, bottom_right], 4).flatten(3)
        return torch.stack([even, odd], 3).flatten(2, 3)


class Patches(Within):
    """Runs a bijection on an image as a sequence of patches: (C, H, W) as (C p^2, H W / p^2).

    Patches are in raster order, and their pixels are the channels of one position: what a causal
    transformer takes for its tokens.
    Reference: An image is worth 16x16 words (Dosovitskiy et al., 2020), arXiv:2010.11929.

    Raises:
        ValueError: the height or the width is no multiple of `size`.
    """

    def __init__(self, bijection: Bijection, event_shape: Sequence[int], size: int) -> None:
        super().__init__(bijection)
        self.event_shape, self.size = tuple(event_shape), size
        channels, height, width = event_shape
        if height % size or width % size:
            raise ValueError(f"images of {height}x{width} have no whole patches of {size}x{size}")
        self.grid = (channels, height // size, size, width // size, size)

    def extra_repr(self) -> str:
        return f"{self.size}x{self.size}, {self.bijection!r}"

    def take(self, event: Tensor) -> Tensor:
        cells = event.unflatten(2, self.grid[1:3]).unflatten(4, self.grid[3:])
        return cells.permute(0, 1, 3, 5, 2, 4).flatten(4).flatten(1, 3)  # (B, C p p, H W / p p)

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        channels, high, size, wide, _ = self.grid
        cells = taken.reshape(-1, channels, size, size, high, wide)
        return cells.permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)


class FactorOut(Within):
    """Runs a bijection on the first `channels` alone; the others are factored out as noise.

    This ends a scale: the next scale is the bijection within.
    Reference: Real-NVP (Dinh, Sohl-Dickstein, Bengio, 2017), arXiv:1605.08803.
    """

    def __init__(self, bijection: Bijection, channels: int) -> None:
        super().__init__(bijection)
        self.channels = channels

    def extra_repr(self) -> str:
        return f"{self.channels} channels, {self.bijection!r}"

    def take(self, event: Tensor) -> Tensor:
        return event[:, : self.channels]

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return torch.cat([taken, into[:, self.channels :]], 1)


class Flattened(Within):
    """Runs a bijection of vectors on events of any shape, flattened: (C, H, W) as (C H W,)."""

    def __init__(self, bijection: Bijection, event_shape: Sequence[int]) -> None:
        super().__init__(bijection)
        self.event_shape = tuple(event_shape)

    def take(self, event: Tensor) -> Tensor:
        return event.flatten(1)

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return taken.unflatten(1, self.event_shape)


class Embedded(Within):
    """Runs a bijection given what a module makes of the context: bijection(z, embedding(c)).

    So a flow with an embedding of its own stands in a larger one, whose other parts take the
    context as it is.
    """

    def __init__(self, bijection: Bijection, embedding: nn.Module) -> None:
        super().__init__(bijection)
        self.embedding = embedding

    def take(self, event: Tensor) -> Tensor:
        return event

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return taken

    def given(self, event: Tensor, context: Tensor | None) -> Tensor | None:
        return None if context is None else self.embedding(context)
