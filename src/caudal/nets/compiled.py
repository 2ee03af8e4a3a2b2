"""Masked nets with the steps of a block in one compiled loop, where Numba is installed.

A block's large products stay torch's. Its small ones, of a few numbers each, cost Python more to
ask for than the machine to do: for small batches the loop is ten times as fast and more.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.kernels import KINDS, block_kernel
from caudal.nets.unroll import Unrolled

if TYPE_CHECKING:
    from caudal.nets.masked import MADE

# Where the loop is the faster way: measured on one CPU core, D from 6 to 784.
_MOST_ROWS = 1024
_ROWS_A_STEP = 12


def suits(net: "MADE", z: Tensor, scalar: Any) -> bool:
    """Whether there is a loop for this net and map, and it is the faster way for this batch."""
    return (
        scalar is not None
        and len(z) <= min(_MOST_ROWS, _ROWS_A_STEP * net.features)
        and z.device.type == "cpu"
        and net.activation in (F.relu, torch.tanh)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and block_kernel() is not None
    )


def unroll(net: "MADE", z: Tensor, scalar: Any, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """X and log dx/dz, both (B, D), of x_t = map(z_t; net(x_<t)), t = 1 .. D.

    `scalar` names the map and holds its constants.
    """
    kernel = block_kernel()
    assert kernel is not None
    state = Unrolled(net, z, context)
    noise = z.t().contiguous()
    x, log_slope = state.inputs.values, torch.empty_like(noise)
    kind, constants = KINDS.index(scalar.name), (*map(float, scalar.constants), *(0.0,) * 4)
    options = (net.residual, net.activation is F.relu, constants[:4])
    weights = tuple(_array(layer.weight) for layer in state.layers)
    dues = tuple(_array(torch.tensor(layer.due)) for layer in state.layers)
    hidden = tuple(_array(known.values) for known in state.hidden)
    direct = _array(net.direct.weight if net.direct else z.new_empty(0, 0))
    while (first := state.end) < net.features:
        state.position = first
        state.open()
        arrays = (weights, dues, tuple(map(_array, _sums(state))), hidden, direct)
        steps = (first, state.end)
        kernel(kind, steps, _array(noise), _array(x), _array(log_slope), arrays, *options)
        state.inputs.written(state.end)
        for known, due in zip(state.hidden, net.due, strict=True):
            known.written(due[state.end])
    return x.t(), log_slope.t()


def _sums(state: Unrolled) -> list[Tensor]:
    """What each layer brings in from before the block."""
    *sums, outputs = (layer.pending for layer in state.layers)
    return [*sums, outputs if state.direct is None else outputs + state.direct.pending]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().numpy()
