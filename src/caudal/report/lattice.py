"""Values that a column in steps cannot hold."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.data import Column

TOLERANCE = 1e-2  # of a step: well above what 32 bits round, well below what a user would mean


def off_lattice(columns: Sequence[Column], x: Tensor) -> Tensor:
    """Mask (B,) of the rows of x (B, D) with a value between the steps of its column.

    The flow itself cannot tell: noise of one step is added before it, whatever the value. Missing
    values lie on every lattice.
    """
    outside = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for column, values in zip(columns, x.T, strict=True):
        if column.step:
            steps = (values.double() - column.origin) / column.step
            # Numbers so large that 32 bits space them wider than this say nothing either way.
            slack = TOLERANCE + 2 * torch.finfo(x.dtype).eps * steps.abs()
            outside |= (steps - steps.round()).abs() > slack
    return outside
