"""Convolutional conditioners for couplings of images: (B, C, H, W) to (B, P, C', H, W)."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from caudal.numerics import dropout


class ConvNet(nn.Module):
    """Glow's net: 3x3, 1x1 and 3x3 convolutions with ReLU between them.

    Context (B, E), if any, shifts the maps of the first layer. The last layer starts at zero; a
    learned gain, exp(3 g), makes it learn faster.
    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039.
    """

    def __init__(
        self, inputs: int, outputs: int, n_params: int, maps: int, context: int = 0
    ) -> None:
        super().__init__()
        self.first = _conv(inputs, maps, 3)
        self.second = _conv(maps, maps, 1)
        self.last = ZeroConv(maps, outputs, n_params)
        self.context = nn.Linear(context, maps) if context else None

    def extra_repr(self) -> str:
        return f"maps={self.second.out_channels}, n_params={self.last.n_params}"

    def hidden_layers(self) -> list[nn.Module]:
        """All but the last: their filters are the matrices that `Muon` moves."""
        return [self.first, self.second]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(dense(x))
        if self.context is not None:
            h = h + per_map(self.context(context))
        h = torch.relu_(self.second(torch.relu_(h)))
        return self.last(h)


class ConcatContext(nn.Module):
    """A net that sees its context (B, E, H, W), maps of the image's size, as further channels."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.net(torch.cat([x, context], 1))


class ResidualConvNet(nn.Module):
    """Real-NVP's net: residual blocks h + conv(act(conv(act(h)))), each with a skip to the end.

    Every convolution is weight-normalised and preceded by a batch normalisation and ReLU;
    `normalise=False` leaves out both normalisations. A `mask` (1, H, W) becomes one more channel:
    it shows the convolutions, which are the same everywhere, where a checkerboard has its zeros.
    Context (B, E), if any, shifts the maps at the input of the blocks. The last layer starts at
    zero.
    Reference: Real-NVP (Dinh, Sohl-Dickstein, Bengio, 2017), arXiv:1605.08803.
    """

    mask: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        n_params: int,
        maps: int,
        blocks: int,
        context: int = 0,
        *,
        mask: Tensor | None = None,
        normalise: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        wrap = weight_norm if normalise else _as_it_is
        self.first = wrap(_conv(inputs + (mask is not None), maps, 3))
        self.blocks = nn.ModuleList(_Block(maps, normalise, dropout) for _ in range(blocks))
        self.first_skip = wrap(_conv(maps, maps, 1))
        self.norm = _norm(maps, normalise)
        self.last = ZeroConv(maps, outputs, n_params, size=1)
        self.context = nn.Linear(context, maps) if context else None

    def extra_repr(self) -> str:
        return f"blocks={len(self.blocks)}, n_params={self.last.n_params}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = dense(x)
        if self.mask is not None:
            mask = self.mask.to(x).expand(x.shape[0], 1, -1, -1)
            x = torch.cat([x, mask], 1)
        h = self.first(x)
        if self.context is not None:
            h = h + per_map(self.context(context))
        end = self.first_skip(h)
        for block in self.blocks:
            h, skip = block(h)
            end = end + skip
        return self.last(torch.relu_(self.norm(end)))


class _Block(nn.Module):
    """One residual block: the new h, and its skip to the end."""

    def __init__(self, maps: int, normalise: bool, dropout: float) -> None:
        super().__init__()
        wrap = weight_norm if normalise else _as_it_is
        self.norms = nn.ModuleList(_norm(maps, normalise) for _ in range(2))
        self.inner = wrap(_conv(maps, maps, 3))
        self.outer = wrap(_conv(maps, maps, 3))
        self.skip = wrap(_conv(maps, maps, 1))
        self.dropout = dropout

    def hidden_layers(self) -> list[nn.Module]:
        """Those before the sum of skips: their filters are the matrices that `Muon` moves."""
        return [self.inner, self.outer]

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        step = self.inner(F.relu(self.norms[0](h)))
        step = torch.relu_(self.norms[1](step))
        if self.dropout:
            step = dropout(step, self.dropout, self.training)
        h = h + self.outer(step)
        return h, self.skip(h)


class ZeroConv(nn.Module):
    """A last layer that starts at zero, with a gain exp(3 g) of each map: (B, P, outputs, H, W).

    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039, in the form of its released code.
    """

    def __init__(self, maps: int, outputs: int, n_params: int, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(dense(torch.zeros(outputs * n_params, maps, size, size)))
        self.bias = nn.Parameter(torch.zeros(outputs * n_params))
        self.log_gain = nn.Parameter(torch.zeros(outputs * n_params))
        self.n_params = n_params

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, n_params={self.n_params}"

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        # The gain multiplies the weights, which are fewer numbers than the maps.
        gain = (3 * self.log_gain).exp()
        weight, bias = self.weight * gain[:, None, None, None], self.bias * gain
        out = F.conv2d(dense(h), weight, bias, padding=weight.shape[-1] // 2)
        return out.unflatten(1, (self.n_params, -1))


class BoundedScale(nn.Module):
    """A net for affine maps whose log-scale becomes gain tanh(raw), the gain learned by channel.

    It wraps a net that gives parameters (mu, raw) on dimension 1, and keeps exp from overflowing.
    Reference: Real-NVP (Dinh, Sohl-Dickstein, Bengio, 2017), arXiv:1605.08803.
    """

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        mu, raw = self.net(x, context).unbind(1)
        return torch.stack([mu, self.gain * torch.tanh(raw)], 1)


class ContextMaps(nn.Module):
    """Parameters from context alone, equal at each position; the event it sees has no channels."""

    def __init__(self, outputs: int, n_params: int, context: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, outputs * n_params)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.n_params = n_params

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        params = self.linear(context).unflatten(1, (self.n_params, -1))
        return params[..., None, None].expand(*params.shape, *x.shape[2:])


def dense(x: Tensor) -> Tensor:
    """The same x with its channels contiguous in memory, where convolutions are fastest."""
    if x.shape[1] == 1:  # a single channel is so in either order; PyTorch goes by the strides
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def per_map(values: Tensor) -> Tensor:
    """Reshapes one value for each map, (B, C), to (B, C, 1, 1)."""
    return values[..., None, None]


def _conv(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """PyTorch's initial weights: He's, wider, train much worse here, before a zero last layer."""
    return channels_last(nn.Conv2d(inputs, outputs, size, padding=size // 2))


def channels_last(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with its weights in the memory order of `dense` images."""
    layer.weight.data = dense(layer.weight.data)
    return layer


def _norm(maps: int, normalise: bool) -> nn.Module:
    return nn.BatchNorm2d(maps) if normalise else nn.Identity()


def _as_it_is(layer: nn.Conv2d) -> nn.Conv2d:
    return layer
