"""Why a training step gave a number that is not finite, in words."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, walk
from caudal.bijections import Support
from caudal.data.source import Batch
from caudal.dequantization import PixelDequantization
from caudal.flow import Flow
from caudal.numerics import repeatable

_SLOWER = "lower `lr`, lengthen `warmup` or set a smaller `clip`"
_SHOWN = 5  # rows, and values of a row


@dataclass(frozen=True)
class _Finding:
    where: str
    rows: Tensor | None  # (B,), True where it failed
    cause: str


def diagnose(flow: Flow, batch: Batch) -> str:
    """Names the first module that fails on a batch, the rows, and the likely cause.

    It runs the flow as it is (in its mode, on its weights), and then backward through the
    negative log-likelihood if nothing fails on the way.
    """
    with torch.no_grad():
        lifted, log_q = flow.lift(batch.x)
        finding = _in_data(flow, lifted, log_q)
        if finding is None:
            finding = _in_bijection(flow, lifted, flow.embed(batch.context))
    return _describe(finding or _beyond(flow, batch), batch)


def _in_data(flow: Flow, lifted: Tensor, log_q: Tensor) -> _Finding | None:
    finite = torch.isfinite(lifted).flatten(1).all(1)
    if not finite.all():
        return _Finding("the data", ~finite, "not finite: leave such rows out")
    known = torch.isfinite(log_q)
    if known.all():
        return None
    cause = "values between the steps of their columns: leave such rows out"
    if isinstance(flow.dequantization, PixelDequantization):
        most = flow.dequantization.levels - 1
        cause = f"pixels that are not whole numbers from 0 to {most}: give them in this unit"
    return _Finding("the data", ~known, cause)


def _in_bijection(flow: Flow, lifted: Tensor, context: Tensor | None) -> _Finding | None:
    for name, part, part_input, given in walk(flow.bijection, lifted, context):
        # Forked, because the walk applies the part once more and must meet the same dropout.
        with repeatable():
            output, log_det = part.inverse(part_input, given)
        fine = torch.isfinite(output).flatten(1).all(1)
        if not bool((fine & torch.isfinite(log_det)).all()):
            return _explain(f"{name} ({type(part).__name__})", part, part_input, fine, log_det)
    return None


def _explain(where: str, part: Bijection, x: Tensor, fine: Tensor, log_det: Tensor) -> _Finding:
    outside = fine & (log_det == -torch.inf)
    if outside.any() and any(True for _ in part.parameters()):
        return _Finding(where, outside, f"its log-scales fall below what numbers hold: {_SLOWER}")
    if outside.any():
        cause = (
            f"outside the support, where the density is zero{_column(part, x, outside)}: "
            f"leave such rows out, or widen the support"
        )
        return _Finding(where, outside, cause)
    bad = _first_bad(part)
    if bad:
        return _Finding(where, None, f"its weights {bad!r} are not finite: {_SLOWER}")
    cause = (
        f"its outputs or log-scales overflow, from inputs up to {float(x.abs().max()):.3g}: "
        f"{_SLOWER}; or are these rows outliers?"
    )
    return _Finding(where, ~(fine & torch.isfinite(log_det)), cause)


def _column(part: Bijection, x: Tensor, outside: Tensor) -> str:
    """The first column, counted from 0, and the value in it that a Support refuses."""
    if not isinstance(part, Support):
        return ""
    beyond = (part.above & (x < part.low)) | (part.below & (x > part.high))
    row = int(outside.nonzero()[0])
    column = int(beyond[row].nonzero()[0])
    return f" (x[{column}] = {float(x[row, column]):.6g} in the first)"


def _beyond(flow: Flow, batch: Batch) -> _Finding:
    """A failure after the bijection: in the base density, the gradient, or the loss itself."""
    flow.zero_grad()
    log_prob = flow.log_prob(*batch)
    fine = torch.isfinite(log_prob)
    if not fine.all():
        cause = f"too far out for the base density: outliers? else {_SLOWER}"
        return _Finding("the base", ~fine, cause)
    if log_prob.requires_grad:
        (-log_prob.mean()).backward()
    bad = _first_bad(flow, grad=True)
    flow.zero_grad()
    if bad:
        return _Finding(f"the gradient of {bad!r}", None, f"not finite: {_SLOWER}")
    return _Finding("the loss function", None, f"the log_prob of this batch is finite: {_SLOWER}")


def _describe(finding: _Finding, batch: Batch) -> str:
    if finding.rows is None:
        return f"first in {finding.where}: {finding.cause}"
    index = finding.rows.nonzero().flatten().tolist()
    listed = ", ".join(map(str, index[:_SHOWN])) + (", ..." if len(index) > _SHOWN else "")
    first = batch.x[index[0]].flatten()
    values = ", ".join(f"{v:.4g}" for v in first[:_SHOWN].tolist())
    more = ", ..." if first.numel() > _SHOWN else ""
    return (
        f"first in {finding.where}, {len(index)} of {len(batch.x)} rows of the batch ({listed}; "
        f"the first is [{values}{more}]): {finding.cause}"
    )


def _first_bad(module: nn.Module, *, grad: bool = False) -> str | None:
    """The first parameter whose values, or gradient, are not finite."""
    for name, parameter in module.named_parameters():
        value = parameter.grad if grad else parameter
        if value is not None and not bool(torch.isfinite(value).all()):
            return name
    return None
