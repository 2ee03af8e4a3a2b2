"""Linear layers whose mask is a staircase: most multiplications with zeros are not done.

With inputs and outputs sorted by degree, the mask of a MADE layer is mask[i, j] = (j < reach[i])
with reach non-decreasing, so nearly half of it is zeros. Cut into blocks of rows, each block needs
only its first columns: whole up to `full`, and masked on the ragged edge from there to `edge`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# Measured on 2 CPU cores: four blocks reach 1.5 times the speed of the masked product, and below
# this many multiplications their calls cost more than they save.
_BLOCKS = 4
_WORTHWHILE = 50_000_000


class Block(NamedTuple):
    """Rows [top, bottom) of the weight: columns [0, full) whole, [full, edge) partly masked."""

    top: int
    bottom: int
    full: int
    edge: int


class StaircaseLinear(nn.Module):
    """y = (W * mask) x + b with mask[i, j] = (j < reach[i]), reach non-decreasing.

    What is stored in W outside the mask has no influence and gets no gradient.
    """

    mask: Tensor

    def __init__(self, inputs: int, reach: Sequence[int]) -> None:
        super().__init__()
        if list(reach) != sorted(reach):
            raise ValueError("reach must be non-decreasing: sort the units by degree")
        self.weight = nn.Parameter(torch.empty(len(reach), inputs))
        self.bias = nn.Parameter(torch.empty(len(reach)))
        mask = torch.arange(inputs) < torch.tensor(reach).unsqueeze(1)
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        self.blocks = _cut(reach)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draws weights and biases as `nn.Linear` does, for the inputs each unit really has."""
        bound = self.mask.sum(1, keepdim=True).clamp(min=1).rsqrt()
        self.weight.uniform_(-1, 1).mul_(bound)
        self.bias.uniform_(-1, 1).mul_(bound.squeeze(1))

    def forward(self, x: Tensor) -> Tensor:
        small = x.shape[0] * self.weight.numel() < _WORTHWHILE
        # A compiler fuses the mask itself and takes no strided `out=`; autocast mixes dtypes.
        if small or torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
            return F.linear(x, self.weight * self.mask, self.bias)
        y: Tensor = _Staircase.apply(x, self.weight, self.bias, self.mask, self.blocks)
        return y


def _cut(reach: Sequence[int]) -> tuple[Block, ...]:
    """About equal blocks of rows, cut where `reach` rises so that few edges are ragged."""
    rows, tops = len(reach), [0]
    for k in range(1, _BLOCKS):
        top = rows * k // _BLOCKS
        while 0 < top < rows and reach[top] == reach[top - 1]:
            top += 1
        if tops[-1] < top < rows:
            tops.append(top)
    spans = zip(tops, [*tops[1:], rows], strict=True)
    return tuple(Block(a, b, reach[a], reach[b - 1]) for a, b in spans)


class _Staircase(torch.autograd.Function):
    """The products of all blocks, forward and backward, each written to its place."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, blocks: Sequence[Block]
    ) -> Tensor:
        y = x.new_empty(x.shape[0], weight.shape[0])
        for block in blocks:
            rows = slice(block.top, block.bottom)
            part = _masked(weight, mask, block)
            torch.addmm(bias[rows], x[:, : block.edge], part.t(), out=y[:, rows])
        ctx.save_for_backward(x, weight, mask)
        ctx.blocks = blocks
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: the plain formula has one
            return grad @ (weight * mask), (grad.t() @ x) * mask, grad.sum(0), None, None
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        for top, bottom, full, edge in ctx.blocks:
            rows, part = slice(top, bottom), _masked(weight, mask, Block(top, bottom, full, edge))
            grad_x[:, :edge].addmm_(grad[:, rows], part)
            torch.mm(grad[:, rows].t(), x[:, :edge], out=grad_weight[rows, :edge])
            grad_weight[rows, full:edge].mul_(mask[rows, full:edge])
        return grad_x, grad_weight, grad.sum(0), None, None


def _masked(weight: Tensor, mask: Tensor, block: Block) -> Tensor:
    """The weights a block uses, (rows, edge), zero where masked."""
    part = weight[block.top : block.bottom, : block.edge]
    if block.full == block.edge:
        return part
    part = part.clone()
    part[:, block.full :].mul_(mask[block.top : block.bottom, block.full : block.edge])
    return part
