"""A WaveNet that generates in one compiled loop, where Numba is installed."""

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.kernels import KINDS, wavenet_kernel
from caudal.nets.dilated import Dilated
from caudal.nets.frames import Conditions

if TYPE_CHECKING:
    from caudal.nets.wavenet import WaveNet

_LANES = 16  # of float32 in the widest registers: channels are padded to a multiple
_MOST_ROWS = 256  # of a batch; beyond, queues stepped by torch's products are about as fast
# tanh(x) = x P(x^2) / Q(x^2) to 3e-7: P, Q and the largest |x|. Eigen's, for float32.
_TANH = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    *(1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
    7.90531110763549805,
)
_STEPS = 1024  # of a call of the loop, between which conditions are projected


def suits(net: "WaveNet", z: Tensor, scalar: Any) -> bool:
    """Whether there is a loop for this net and map, and it is the faster way for this batch."""
    return (
        scalar is not None
        and scalar.name in KINDS
        and len(z) <= _MOST_ROWS
        and z.device.type == "cpu"
        and z.dtype in (torch.float32, torch.float64)
        and z.dtype == net.last.weight.dtype
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and wavenet_kernel() is not None
    )


def unroll(
    net: "WaveNet", z: Tensor, scalar: Any, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """X and log dx/dz, both (B, 1, T), of x_t = map(z_t; net(x_<t)), t = 1 .. T."""
    kernel = wavenet_kernel()
    assert kernel is not None
    length = z.shape[-1]
    noise = z[:, 0].t().contiguous()
    x, log_slope = torch.empty_like(noise), torch.empty_like(noise)
    packed, conditions = pack(net), net.conditions(context, length)
    hold = length if conditions is None else conditions.hold
    state, scratch = _nothing(net, noise), _scratch(packed, noise)
    kind, constants = KINDS.index(scalar.name), (*map(float, scalar.constants), *(0.0,) * 4)
    step = max(1, _STEPS // hold) * hold
    for start in range(0, length, step):
        given = _given(net, conditions, start, min(start + step, length))
        parts = (_array(part[start : start + step]) for part in (noise, x, log_slope))
        kernel(kind, constants[:4], *parts, packed, (given, hold), state, scratch)
    return x.t().unsqueeze(1), log_slope.t().unsqueeze(1)


class Packed(NamedTuple):
    """The weights in the order in which the loop reads them, channels padded by zeros.

    Gates come as sigmoid(a) = (1 + tanh(a / 2)) / 2, the halves in the weights.
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
    """The weights as they are now."""
    layers = cast(list[Dilated], list(net.layers))
    return Packed(
        _array(torch.stack([_wide(net.first.weight[:, 0]), _wide(net.first.bias)])),
        _array(torch.stack([_taps(layer) for layer in layers])),
        _array(torch.stack([_out(layer, layer.out.weight.t()) / 2 for layer in layers])),
        _array(torch.stack([_out(layer, layer.out.bias) for layer in layers])),
        _array(_wide(_wide(net.inner.weight.t(), 0))),
        _array(_wide(net.inner.bias)),
        _array(_wide(_wide(net.last.weight.t(), 0))),
        _array(_wide(net.last.bias)),
        _array(torch.tensor([layer.dilation for layer in layers])),
        _array(net.last.bias.new_tensor(_TANH)),
    )


def _taps(layer: Dilated) -> Tensor:
    """(kernel, channels, 2 channels)."""
    weight = layer.taps.weight.t().unflatten(0, (layer.kernel, layer.channels))
    return _wide(_gates(weight), 1)


def _out(layer: Dilated, out: Tensor) -> Tensor:
    """Residual and skip part next to each other, zeros where there is none of two."""
    residual, skip = layer.parts(out)
    if skip is None:
        assert residual is not None
        found = _wide(residual)
    else:
        stays = torch.zeros_like(skip) if residual is None else residual
        found = torch.cat([_wide(stays), _wide(skip)], -1)
    return found if out.dim() == 1 else _wide(found, 0)


def _gates(values: Tensor) -> Tensor:
    """Filters and halved gates on the last dimension, each padded."""
    filters, gates = values.chunk(2, -1)
    return torch.cat([_wide(filters), _wide(gates / 2)], -1)


def _wide(values: Tensor, dim: int = -1) -> Tensor:
    """With zeros up to a multiple of the lanes."""
    missing = -values.shape[dim] % _LANES
    after = values.dim() - 1 - dim % values.dim()
    return F.pad(values, (0, 0) * after + (0, missing))


def _given(net: "WaveNet", conditions: Conditions | None, start: int, stop: int) -> Any:
    """Biases and conditions (rows, B or 1, layers, 2 channels) of these steps."""
    layers = cast(list[Dilated], list(net.layers))
    bias = torch.stack([layer.taps.bias for layer in layers])
    if conditions is None:
        return _array(_gates(bias)[None, None])
    assert net.project is not None
    rows = net.project(conditions.between(start, stop).rows)
    return _array(_gates(rows.unflatten(-1, (len(layers), -1)) + bias))


def _nothing(net: "WaveNet", noise: Tensor) -> tuple[Any, Any, Any]:
    """The state before the first sample: queues, the slots that come next, the samples before."""
    channels = len(_wide(net.first.bias))
    queues = noise.new_zeros(net.receptive_field - 1, noise.shape[1], channels)
    slots = torch.zeros(len(net.layers), dtype=torch.long)
    return _array(queues), _array(slots), _array(noise.new_zeros(noise.shape[1]))


def _scratch(packed: Packed, noise: Tensor) -> tuple[Any, ...]:
    """Where the loop works: streams, gates, units, parameters."""
    channels = packed.first.shape[1]
    widths = (packed.outs.shape[2], 2 * channels, channels, packed.last.shape[1])
    return tuple(_array(noise.new_zeros(noise.shape[1], width)) for width in widths)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
