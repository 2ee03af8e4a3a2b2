"""Which columns of a wide row deserve a closer look: those that pull at its log-density."""

import torch
from torch import Tensor

from caudal.bijection import Chain
from caudal.data import Batch
from caudal.flow import Flow
from caudal.numerics import RowGenerator
from caudal.training.dressing import dressing_of, undressed

_TYPICAL = 256  # samples that tell how much a column usually pulls
_LEAST = 1e-6  # of the mean square of a slope: a column that the flow does not see never pulls


def pulls(flow: Flow, batch: Batch, seed: int = 0) -> Tensor:
    """How much each column of rows x (B, D) pulls at the log-density of its row, (B, D).

    It is the squared slope of the log-density along the column, next to the data, where columns
    are about normal, over its mean in samples of the flow. If all are normal, that is r^2, a value
    being r standard deviations from its mean given the others. All columns together cost a pass
    there and back, and are less exact than `caudal.conditionals`. A column with gaps pulls as
    much as its value, or as that it is there.
    """
    x, context = batch
    bare, dressing = undressed(flow), dressing_of(flow)
    lifted, _ = flow.lift(x, RowGenerator(x.device, seed), context)
    v = Chain(dressing).inverse(lifted)[0] if dressing else lifted
    embedded = flow.embed(context)
    some = None if embedded is None else embedded[torch.arange(_TYPICAL) % len(embedded)]
    generator = torch.Generator(x.device).manual_seed(seed)
    usual = _slopes(bare, bare.sample(_TYPICAL, some, generator=generator), some)
    pull = _slopes(bare, v, embedded).square() / usual.square().mean(0).clamp(min=_LEAST)
    pull, features = pull.nan_to_num(torch.inf, torch.inf), x.shape[1]
    gaps = getattr(flow.dequantization, "columns_missing", [])
    pull[:, gaps] = torch.maximum(pull[:, gaps], pull[:, features:])
    return pull[:, :features]


@torch.enable_grad()
def _slopes(flow: Flow, v: Tensor, context: Tensor | None) -> Tensor:
    """The slopes (B, D) of the log-density of a flow at v."""
    v = v.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(flow.log_prob(v, context).sum(), v)
    return slopes
