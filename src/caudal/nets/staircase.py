"""Linear layers whose mask is a staircase: most multiplications with zeros are not done.

With inputs and outputs sorted by degree, the mask of a MADE layer is mask[i, j] = (j < reach[i])
with reach non-decreasing, so nearly half of it is zeros. Cut into blocks of rows, each block needs
only its first columns: whole up to `full`, and masked on the ragged edge from there to `edge`.
The batch lies on the last dimension, so that the rows and columns of a block are contiguous.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Measured on one CPU core, widths 128 to 1568, batches 100 to 4096: eight blocks reach 1.3 to 1.7
# times the speed of the masked product; each must be worth the cost of its calls.
_MOST_BLOCKS = 8
_LEAST_SIDE = 32
_LEAST_PRODUCTS = 2_000_000


class Block(NamedTuple):
    """Rows [top, bottom) of the weight: columns [0, full) whole, [full, edge) partly masked."""

    top: int
    bottom: int
    full: int
    edge: int


class StaircaseLinear(nn.Module):
    """y = (W * mask) x + b with mask[i, j] = (j < reach[i]), reach non-decreasing.

    Takes x of shape (inputs, B), gives y of shape (outputs, B). What is stored in W outside the
    mask has no influence and gets no gradient.
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
        self.cuts = tuple(_cut(reach, n_blocks) for n_blocks in range(1, _MOST_BLOCKS + 1))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draws weights and biases of variance 1 / n, n the inputs that each unit really has.

        That is three times nn.Linear's: with a zero last layer, narrower features cost up to 0.2
        nats on tables of few columns when steps are few (benchmarks/results/quality.md).
        """
        bound = (self.mask.sum(1, keepdim=True).clamp(min=1) / 3).rsqrt()
        self.weight.uniform_(-1, 1).mul_(bound)
        self.bias.uniform_(-1, 1).mul_(bound.squeeze(1))

    def forward(self, x: Tensor) -> Tensor:
        # A compiler fuses the mask itself and takes no `out=`; autocast mixes dtypes.
        if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
            return self._whole(x)
        blocks = self._blocks(x.shape[1])
        if len(blocks) == 1:
            return self._whole(x)
        y: Tensor = _Staircase.apply(x, self.weight, self.bias, self.mask, blocks)
        return y

    def _whole(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias.unsqueeze(1), self.weight * self.mask, x)

    def _blocks(self, columns: int) -> tuple[Block, ...]:
        by_side = min(self.weight.shape) // _LEAST_SIDE
        by_products = self.weight.numel() * columns // _LEAST_PRODUCTS
        return self.cuts[max(1, min(_MOST_BLOCKS, by_side, by_products)) - 1]


def _cut(reach: Sequence[int], n_blocks: int) -> tuple[Block, ...]:
    """About equal blocks of rows, cut where `reach` rises so that few edges are ragged."""
    rows, tops = len(reach), [0]
    for k in range(1, n_blocks):
        top = rows * k // n_blocks
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
        y = x.new_empty(weight.shape[0], x.shape[1])
        for block in blocks:
            part = _masked(weight, mask, block)
            torch.mm(part, x[: block.edge], out=y[block.top : block.bottom])
        ctx.save_for_backward(x, weight, mask)
        ctx.blocks = blocks
        return y.add_(bias.unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        grad_bias = grad.sum(1)
        if torch.is_grad_enabled():  # a second derivative is wanted: the plain formula has one
            return (weight * mask).t() @ grad, (grad @ x.t()) * mask, grad_bias, None, None
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        for block in ctx.blocks:
            top, bottom, full, edge = block
            rows = grad[top:bottom]
            if grad_x is not None:
                grad_x[:edge].addmm_(_masked(weight, mask, block).t(), rows)
            torch.mm(rows, x[:edge].t(), out=grad_weight[top:bottom, :edge])
            grad_weight[top:bottom, full:edge].mul_(mask[top:bottom, full:edge])
        return grad_x, grad_weight, grad_bias, None, None


def _masked(weight: Tensor, mask: Tensor, block: Block) -> Tensor:
    """The weights a block uses, (rows, edge), zero where masked."""
    top, bottom, full, edge = block
    part = weight[top:bottom, :edge]
    if full == edge:
        return part
    part = part.clone()
    part[:, full:].mul_(mask[top:bottom, full:edge])
    return part
