"""The distribution of a single number under a flow, by its monotone map: exact, without drawing.

A flow x = f(z) of one number is increasing, so that P(x <= f(z)) = F(z), with F the distribution
function of the noise: quantiles and probabilities cost one pass for each.
"""

import torch
from torch import Tensor

from caudal.base import Independent
from caudal.bijections import winds
from caudal.flow import Flow

_ROWS = 1 << 16  # at a time: bounds the memory


def is_univariate(flow: Flow) -> bool:
    """Whether a flow makes one number, always there and on no circle, of one number of noise."""
    one = flow.base.event_shape == (1,) and flow.event_shape == (1,)
    return one and isinstance(flow.base, Independent) and not winds(flow.bijection)


@torch.no_grad()
def quantiles(flow: Flow, levels: Tensor, context: Tensor | None, n: int = 1) -> Tensor:
    """Values (B, L) below which the shares `levels` (L,) of the distribution of each row lie.

    For values in steps they are points of the lattice.

    Args:
        flow: of one number, in evaluation mode.
        levels: in (0, 1).
        context: of the rows (B, C); None for a flow without, whose rows are n equal ones.
        n: how many rows there are without a context.
    """
    base = flow.base
    assert isinstance(base, Independent)
    z = base.quantile(levels.double()).to(base.like)
    rows = n if context is None else len(context)
    parts = [
        flow.decode(z.repeat(part)[:, None], given)[:, 0].view(part, len(z))
        for part, given in _parts(rows, len(z), context)
    ]
    return torch.cat(parts)


@torch.no_grad()
def below(flow: Flow, y: Tensor, context: Tensor | None) -> Tensor:
    """P(Y < y) of values y (B, M) of each row, as `Flow.lift` gives them: (B, M) float64."""
    base, plain = flow.base, flow.continuous()
    assert isinstance(base, Independent)
    first, parts = 0, []
    for part, given in _parts(len(y), y.shape[1], context):
        values = y[first : first + part].to(base.like).reshape(-1, 1)
        z = plain.encode(values, given)[:, 0].double()
        parts.append(base.log_cdf(z).exp().view(part, -1))
        first += part
    return torch.cat(parts)


def masses(flow: Flow, edges: Tensor, context: Tensor | None, n: int = 1) -> Tensor:
    """The probabilities (B, K) of the K steps between edges (K + 1,) of the whole support.

    For dequantised categories k, which fill [k, k + 1], they are exact: integrals of the density
    over the noise. Rows are as for `quantiles`.
    """
    rows = n if context is None else len(context)
    inner = below(flow, edges[1:-1].expand(rows, -1), context)
    ends = torch.cat([torch.zeros_like(inner[:, :1]), inner, torch.ones_like(inner[:, :1])], 1)
    return ends.diff().clamp(min=0.0)


def _parts(rows: int, each: int, context: Tensor | None) -> list[tuple[int, Tensor | None]]:
    """Rows in parts: how many, and the context of each of their `each` values."""
    size = max(1, _ROWS // max(each, 1))
    sizes = [size] * (rows // size) + [rows % size] * (rows % size > 0) or [0]
    if context is None:
        return [(part, None) for part in sizes]
    parts = context.split(sizes)
    return [(len(part), part.repeat_interleave(each, 0)) for part in parts]
