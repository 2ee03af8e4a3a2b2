"""Whether a flow's scores hold in more digits than it computes with."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from caudal.broadcasting import fits
from caudal.data.source import Batch
from caudal.flow import Flow
from caudal.numerics import RowGenerator
from caudal.training.shares import WHOLE

_NATS, _SHARE = 0.1, 1e-3  # how far a score may be off: in nats, and as a share of it
_ROWS_OFF = 0.05  # share of the rows that may be farther off


class Gap(NamedTuple):
    """How far scores are from those in float64.

    Attributes:
        share: of the rows whose scores are farther apart than rounding can explain.
        nats: the median distance of these rows.
    """

    share: float
    nats: float

    @property
    def collapsed(self) -> bool:
        """Whether the flow's own scores mean nothing."""
        return self.share > _ROWS_OFF


def is_comparable(flow: Flow, batch: Batch) -> bool:
    """Whether scores of these rows are compared with those in float64; see `precision_gap`."""
    like = flow.base.like
    large = sum(p.numel() for p in flow.parameters()) > WHOLE
    return not (like.dtype == torch.float64 or like.device.type == "mps" or large) and _fit(
        flow, batch
    )


@torch.no_grad()
def precision_gap(flow: Flow, batch: Batch) -> Gap:
    """Compares scores of rows with those of the same weights and the same noise in float64.

    A flow that squeezes its data onto a surface ends where its log-det is that of rounding errors:
    its scores, and its loss, look better the worse this gets. Rounding alone moves a score by
    about 1e-6 of it, or some hundredths of a nat in deep flows. Estimated log-dets are left out:
    where they depend on the precision, that says nothing of the flow.

    Args:
        flow: in evaluation mode. One in float64, one too large to be copied, or one on a device
            without float64 is not compared, and has no gap.
        batch: a few rows, on the flow's device. A loss that makes its own rows may give rows that
            do not fit the flow; they are not compared.
    """
    if not is_comparable(flow, batch):
        return Gap(0.0, 0.0)
    y, _ = flow.lift(batch.x, RowGenerator(batch.x.device), batch.context)
    context = batch.context
    ours = _scores(flow, y, context).double()
    exact = deepcopy(flow).double()
    theirs = _scores(exact, y.double(), None if context is None else context.double())
    apart = (ours - theirs).abs().nan_to_num(torch.inf, torch.inf)
    apart = torch.where(ours == theirs, 0.0, apart)  # both may be infinite
    off = apart > _NATS + _SHARE * theirs.abs().nan_to_num(0.0, 0.0, 0.0)
    return Gap(float(off.double().mean()), float(apart[off].median()) if off.any() else 0.0)


def _fit(flow: Flow, batch: Batch) -> bool:
    """Whether there are rows, and the flow takes them as they are."""
    x, context = batch
    if not len(x) or not fits(x, flow.event_shape):
        return False
    if context is None or flow.context_shape is None:
        return context is None and flow.context_shape is None
    return fits(context, flow.context_shape)


def _scores(flow: Flow, y: Tensor, context: Tensor | None) -> Tensor:
    """Scores of lifted rows, (B,): without the log-det where that is estimated."""
    continuous = flow.continuous()
    if flow.estimated:
        return flow.base.log_prob(continuous.encode(y, context))
    return continuous.log_prob(y, context)
