"""Products with matrices whose mask is a staircase: most multiplications by zero are skipped.

With inputs and outputs sorted by degree, the mask of a MADE layer is mask[i, j] = (j < reach[i])
with reach non-decreasing, so nearly half of it is zeros. Cut into blocks of rows, each block needs
only its first columns: whole up to `full`, and masked on the ragged edge from there to `edge`.
The batch lies on the last dimension, so that the rows and columns of a block are contiguous.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from caudal.nets.masked import MaskedLinear

# Measured on one CPU core, widths 256 to 1568, batches 100 to 4096: eight blocks reach up to 1.7
# times the speed of the masked product, and each must be worth the cost of its calls. Below a
# width of 256 they are not where plain products are quick.
_MOST_BLOCKS = 8
_LEAST_SIDE = 64
_NARROWEST = 256
_LEAST_PRODUCTS = 2_000_000


class Block(NamedTuple):
    """Rows [top, bottom) of the weight: columns [0, full) whole, [full, edge) partly masked."""

    top: int
    bottom: int
    full: int
    edge: int


def cuts_of(reach: Sequence[int]) -> tuple[tuple[Block, ...], ...]:
    """The mask of `reach` cut into one block, two blocks, and so on."""
    return tuple(_cut(reach, n_blocks) for n_blocks in range(1, _MOST_BLOCKS + 1))


def staircase_product(layer: "MaskedLinear", x: Tensor) -> Tensor | None:
    """(W * mask) x + b block by block, x (inputs, B); None where one plain product is better.

    A compiled graph calls it as one operation of its own. An exported graph must run without
    caudal, and has the plain product; autocast mixes dtypes.
    """
    if torch.compiler.is_exporting() or torch.is_autocast_enabled(x.device.type):
        return None
    blocks = _blocks(layer, x.shape[1])
    if len(blocks) == 1:
        return None
    tensors = x, layer.weight, layer.bias, layer.mask
    if torch.compiler.is_compiling():
        compiled: Tensor = _compiled(*tensors, [edge for block in blocks for edge in block])
        return compiled
    y: Tensor = _Staircase.apply(*tensors, blocks)
    return y


def _blocks(layer: "MaskedLinear", columns: int) -> tuple[Block, ...]:
    side = min(layer.weight.shape)
    if side < _NARROWEST:
        return layer.cuts[0]
    by_side = side // _LEAST_SIDE
    by_products = layer.weight.numel() * columns // _LEAST_PRODUCTS
    return layer.cuts[max(1, min(_MOST_BLOCKS, by_side, by_products)) - 1]


def _cut(reach: Sequence[int], n_blocks: int) -> tuple[Block, ...]:
    """About equal blocks of rows, cut where `reach` rises, so that few edges are ragged."""
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
    """The products of all blocks, forward and backward, each written in place."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, blocks: Sequence[Block]
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        ctx.blocks = blocks
        return _product(x, weight, bias, mask, blocks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        grad_bias = grad.sum(1)
        if torch.is_grad_enabled():  # for a second derivative: the plain formula has one
            return (weight * mask).t() @ grad, (grad @ x.t()) * mask, grad_bias, None, None
        grad_weight = _weight_gradient(grad, x, mask, ctx.blocks)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _input_gradient(grad, weight, mask, ctx.blocks)
        return grad_x, grad_weight, grad_bias, None, None


def _product(
    x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, blocks: Sequence[Block]
) -> Tensor:
    y = x.new_empty(weight.shape[0], x.shape[1])
    for block in blocks:
        part = _masked(weight, mask, block)
        torch.mm(part, x[: block.edge], out=y[block.top : block.bottom])
    return y.add_(bias.unsqueeze(1))


def _input_gradient(grad: Tensor, weight: Tensor, mask: Tensor, blocks: Sequence[Block]) -> Tensor:
    grad_x = grad.new_zeros(weight.shape[1], grad.shape[1])
    for block in blocks:
        part = _masked(weight, mask, block)
        grad_x[: block.edge].addmm_(part.t(), grad[block.top : block.bottom])
    return grad_x


def _weight_gradient(grad: Tensor, x: Tensor, mask: Tensor, blocks: Sequence[Block]) -> Tensor:
    grad_weight = torch.zeros_like(mask)
    for top, bottom, full, edge in blocks:
        torch.mm(grad[top:bottom], x[:edge].t(), out=grad_weight[top:bottom, :edge])
        grad_weight[top:bottom, full:edge].mul_(mask[top:bottom, full:edge])
    return grad_weight


def _masked(weight: Tensor, mask: Tensor, block: Block) -> Tensor:
    """The weights that a block uses, (rows, edge), zero where masked."""
    top, bottom, full, edge = block
    part = weight[top:bottom, :edge]
    if full == edge:
        return part
    part = part.clone()
    part[:, full:].mul_(mask[top:bottom, full:edge])
    return part


# What a compiler needs to know of them: that they are single operations, and what comes out.


@torch.library.custom_op("caudal::staircase", mutates_args=())
def _compiled(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, edges: list[int]) -> Tensor:
    return _product(x, weight, bias, mask, _as_blocks(edges))


@torch.library.custom_op("caudal::staircase_input", mutates_args=())
def _compiled_input(grad: Tensor, weight: Tensor, mask: Tensor, edges: list[int]) -> Tensor:
    return _input_gradient(grad.contiguous(), weight, mask, _as_blocks(edges))


@torch.library.custom_op("caudal::staircase_weight", mutates_args=())
def _compiled_weight(grad: Tensor, x: Tensor, mask: Tensor, edges: list[int]) -> Tensor:
    return _weight_gradient(grad.contiguous(), x, mask, _as_blocks(edges))


def _as_blocks(edges: list[int]) -> list[Block]:
    return [Block(*edges[i : i + 4]) for i in range(0, len(edges), 4)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, mask, ctx.edges = inputs
    ctx.save_for_backward(x, weight, mask)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, mask = ctx.saved_tensors
    grad_x = _compiled_input(grad, weight, mask, ctx.edges) if ctx.needs_input_grad[0] else None
    grad_weight = _compiled_weight(grad, x, mask, ctx.edges)
    return grad_x, grad_weight, grad.sum(1), None, None


_compiled.register_fake(lambda x, weight, *_: x.new_empty(weight.shape[0], x.shape[1]))
_compiled_input.register_fake(lambda grad, w, *_: grad.new_empty(w.shape[1], grad.shape[1]))
_compiled_weight.register_fake(lambda grad, x, mask, _: torch.empty_like(mask))
_compiled.register_autograd(_gradients, setup_context=_remember)
