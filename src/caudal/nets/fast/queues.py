"""A WaveNet one sample at a time: by queues, or in one compiled loop where Numba is installed."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.nets.context import Conditions
from caudal.nets.fast.kernels import KINDS, map_of, wavenet_kernel
from caudal.numerics.compiled import array, in_loops

if TYPE_CHECKING:
    from caudal.nets.wavenet import Dilated, WaveNet

_LANES = 16  # float32 numbers in the widest registers: channels are padded to a multiple
_MOST_ROWS = 256  # beyond this batch size, stepping queues with torch's products is as fast
# tanh(x) = x P(x^2) / Q(x^2) to 3e-7: P, Q and the largest |x|. Eigen's, for float32.
_TANH = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    *(1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
    7.90531110763549805,
)
_STEPS = 1024  # steps of one call of the loop; conditions are projected between calls


class Queues:
    """The state of a WaveNet between two steps: for each layer, the inputs its taps look back at.

    Nothing that a layer has computed is computed again.
    Reference: Fast Wavenet Generation Algorithm (Le Paine et al., 2016), arXiv:1611.09482.
    """

    def __init__(self, net: "WaveNet", like: Tensor, context: Tensor | None) -> None:
        self.net, self.position = net, 0
        self.conditions = net.conditions(context, like.shape[-1])
        self.layers = cast("list[Dilated]", list(net.layers))
        nothing = like.new_zeros(len(like), net.channels)
        self.queues = [
            deque([nothing] * most, most) for most in (a.delays[0] for a in self.layers)
        ]
        self.first = like.new_zeros(len(like), 1)
        self.out = _outs(self.layers)

    def step(self, value: Tensor | None) -> Tensor:
        """Takes the previous sample (B, 1), gives the parameters of the next (B, P)."""
        net = self.net
        h = net.first(self.first if value is None else value)
        conditions = self._condition()
        units = []
        for i, (layer, queue) in enumerate(zip(self.layers, self.queues, strict=True)):
            past = [queue[-delay] for delay in layer.delays[:-1]]
            gate = layer.taps(torch.cat([*past, h], 1))
            queue.append(h)
            if conditions is not None:
                gate = gate + conditions[i]
            tanh, sigmoid = gate.chunk(2, 1)
            z = torch.tanh(tanh) * torch.sigmoid(sigmoid)
            units.append(z)
            residual = self.out.residual[i]
            if residual is not None:
                h = h + torch.addmm(residual[1], z, residual[0])
        if self.out.skip is not None:
            h = torch.addmm(self.out.skip_bias, torch.cat(units, 1), self.out.skip)
        self.position += 1
        return net.head(h)

    def _condition(self) -> tuple[Tensor, ...] | None:
        """The terms that the context adds to the gates of each layer, for `hold` steps."""
        if self.conditions is None:
            return None
        rows, hold = self.conditions
        row = 0 if len(rows) == 1 else self.position // hold
        if self.position == 0 or (len(rows) > 1 and self.position % hold == 0):
            assert self.net.project is not None
            self._projected = self.net.project(rows[row]).chunk(len(self.layers), 1)
        return self._projected


class _Outs(NamedTuple):
    """The output products: to the residual stream layer by layer, to the skips as one."""

    residual: list[tuple[Tensor, Tensor] | None]
    skip: Tensor | None
    skip_bias: Tensor


def _outs(layers: "list[Dilated]") -> _Outs:
    residual, skips, biases = [], [], []
    for layer in layers:
        weights, bias = layer.parts(layer.out.weight.t()), layer.parts(layer.out.bias)
        product = None
        if weights[0] is not None and bias[0] is not None:
            product = (weights[0], bias[0])
        residual.append(product)
        if weights[1] is not None and bias[1] is not None:
            skips.append(weights[1])
            biases.append(bias[1])
    if not skips:
        return _Outs(residual, None, layers[0].out.bias)
    return _Outs(residual, torch.cat(skips), torch.stack(biases).sum(0))


def unroll_wavenet(
    net: "WaveNet", z: Tensor, scalar: Any, context: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """X and log dx/dz, both (B, 1, T), of x_t = map(z_t; net(x_<t)), t = 1 .. T, in one loop.

    `scalar` names the map and holds its constants. None where queues are faster, or no loop fits.
    """
    pieces = unroll_in_pieces(net, z, scalar, context)
    if pieces is None:
        return None
    x, log_slope = zip(*pieces, strict=True)
    return torch.cat(x, -1), torch.cat(log_slope, -1)


def unroll_in_pieces(
    net: "WaveNet", z: Tensor, scalar: Any, context: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]] | None:
    """The same piece by piece, as they are made: x and log dx/dz, both (B, 1, n)."""
    if not _suits(net, z, scalar) or (kernel := wavenet_kernel()) is None:
        return None
    return _pieces(net, z, scalar, context, kernel)


def _pieces(
    net: "WaveNet", z: Tensor, scalar: Any, context: Tensor | None, kernel: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    length = z.shape[-1]
    noise = z[:, 0].t().contiguous()
    x, log_slope = torch.empty_like(noise), torch.empty_like(noise)
    packed, conditions = pack(net), net.conditions(context, length)
    hold = length if conditions is None else conditions.hold
    state, scratch = _nothing(net, noise), _scratch(net, packed, noise)
    kind, constants = map_of(scalar)
    step = max(1, _STEPS // hold) * hold
    for start in range(0, length, step):
        inputs = _gate_inputs(net, conditions, start, min(start + step, length))
        parts = [part[start : start + step] for part in (noise, x, log_slope)]
        kernel(kind, constants, *map(array, parts), packed, (inputs, hold), state, scratch)
        yield parts[1].t().unsqueeze(1), parts[2].t().unsqueeze(1)


def _suits(net: "WaveNet", z: Tensor, scalar: Any) -> bool:
    """Whether the loop knows this net and map, and is the faster way for this batch."""
    return (
        scalar is not None
        and scalar.name in KINDS
        and len(z) <= _MOST_ROWS
        and z.dtype in (torch.float32, torch.float64)
        and z.dtype == net.last.weight.dtype
        and in_loops(z)
    )


class Packed(NamedTuple):
    """The weights in the order in which the loop reads them, channels padded by zeros.

    Gates are computed as sigmoid(a) = (1 + tanh(a / 2)) / 2, with the halves in the weights.
    """

    first: Any
    taps: Any
    outs: Any
    out_bias: Any
    inner: Any
    inner_bias: Any
    last: Any
    last_bias: Any
    dilations: Any
    tanh: Any


def pack(net: "WaveNet") -> Packed:
    """Packs the present weights of a net."""
    layers = cast("list[Dilated]", list(net.layers))
    return Packed(
        array(torch.stack([_wide(net.first.weight[:, 0]), _wide(net.first.bias)])),
        array(torch.stack([_taps(layer) for layer in layers])),
        array(torch.stack([_out(layer, layer.out.weight.t()) / 2 for layer in layers])),
        array(torch.stack([_out(layer, layer.out.bias) for layer in layers])),
        array(_wide(_wide(net.inner.weight.t(), 0))),
        array(_wide(net.inner.bias)),
        array(_wide(_wide(net.last.weight.t(), 0))),
        array(_wide(net.last.bias)),
        array(torch.tensor([layer.dilation for layer in layers])),
        array(net.last.bias.new_tensor(_TANH)),
    )


def _taps(layer: "Dilated") -> Tensor:
    """The weights of all taps, (kernel, channels, 2 channels)."""
    weight = layer.taps.weight.t().unflatten(0, (layer.kernel, layer.channels))
    return _wide(_gates(weight), 1)


def _out(layer: "Dilated", out: Tensor) -> Tensor:
    """Residual and skip part side by side, with zeros in place of a missing residual."""
    residual, skip = layer.parts(out)
    if skip is None:
        assert residual is not None
        parts = _wide(residual)
    else:
        stays = torch.zeros_like(skip) if residual is None else residual
        parts = torch.cat([_wide(stays), _wide(skip)], -1)
    return parts if out.dim() == 1 else _wide(parts, 0)


def _gates(values: Tensor) -> Tensor:
    """Filters and halved gates on the last dimension, each padded."""
    filters, gates = values.chunk(2, -1)
    return torch.cat([_wide(filters), _wide(gates / 2)], -1)


def _wide(values: Tensor, dim: int = -1) -> Tensor:
    """Pads a dimension by zeros to a multiple of the lanes."""
    missing = -values.shape[dim] % _LANES
    after = values.dim() - 1 - dim % values.dim()
    return F.pad(values, (0, 0) * after + (0, missing))


def _gate_inputs(net: "WaveNet", conditions: Conditions | None, start: int, stop: int) -> Any:
    """Biases plus conditions (rows, B or 1, layers, 2 channels) of these steps."""
    layers = cast("list[Dilated]", list(net.layers))
    bias = torch.stack([layer.taps.bias for layer in layers])
    if conditions is None:
        return array(_gates(bias)[None, None])
    rows = net.projected(conditions.between(start, stop))
    assert rows is not None
    return array(_gates(rows.unflatten(-1, (len(layers), -1)) + bias))


def _nothing(net: "WaveNet", noise: Tensor) -> tuple[Any, Any, Any]:
    """The state before the first sample: queues, the next slot of each, the samples before."""
    channels = len(_wide(net.first.bias))
    queues = noise.new_zeros(net.receptive_field - 1, noise.shape[1], channels)
    slots = torch.zeros(len(net.layers), dtype=torch.long)
    return array(queues), array(slots), array(noise.new_zeros(noise.shape[1]))


def _scratch(net: "WaveNet", packed: Packed, noise: Tensor) -> tuple[Any, ...]:
    """Memory for the loop: streams, gates, units, parameters, and those of one row in double."""
    channels = packed.first.shape[1]
    widths = (packed.outs.shape[2], 2 * channels, channels, packed.last.shape[1])
    own = array(net.last.bias.new_zeros(len(net.last.bias), dtype=torch.float64))
    return (*(array(noise.new_zeros(noise.shape[1], width)) for width in widths), own)
