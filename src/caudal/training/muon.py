"""Muon: matrices within nets move in orthogonal directions, and all else by Adam."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from caudal.training.shares import gathered, local, share_of

_MOMENTUM = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""a s + b s^3 + c s^5 takes a singular value s in (0, 1] near 1, when it is applied five times."""


class Muon(torch.optim.AdamW):
    """Adam, except that each matrix of some groups moves in an orthogonal direction.

    With the gradient G of a weight W of shape (a, b), a step is

        M <- mu M + (1 - mu) G,    mu = 0.95
        W <- W - lr sqrt(max(a, b)) U V^T,    where U S V^T = mu M + (1 - mu) G

    so that a matrix learns in all directions as fast, also where the gradient is small. Its
    entries move by lr in root mean square, about as far as by Adam: rates of the two are alike.
    Five steps of an iteration by Newton and Schulz come near to U V^T, without a decomposition.

    Groups of parameters are as of AdamW; the matrices are those of a group that has
    `"orthogonal": True`.

    Reference: Muon: an optimizer for hidden layers in neural networks (Jordan et al., 2024); Muon
    is scalable for LLM training (Liu et al., 2025), arXiv:2502.16982
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of all parameters that have a gradient; those of matrices are used up."""
        for group in self.param_groups:
            if group.get("orthogonal"):
                matrices = [p for p in group["params"] if p.grad is not None]
                self._move(matrices, group["lr"], group["weight_decay"])
        super().step(closure)

    def _move(self, matrices: list[nn.Parameter], lr: float, decay: float) -> None:
        alike = defaultdict(list)  # of one shape: their products are batched
        for matrix in matrices:
            alike[matrix.shape].append(matrix)
        for shape, some in alike.items():  # a filter is a row, of all its inputs and places
            far = torch.stack([gathered(self._average(matrix)) for matrix in some]).flatten(2)
            moves = self._latched(orthogonalised(far)).mul_(-lr * max(far.shape[1:]) ** 0.5)
            for matrix, move in zip(some, moves.view(-1, *shape), strict=True):
                if decay:
                    matrix.mul_(1 - self._latched(moves.new_tensor(lr * decay)))
                matrix.add_(share_of(move, matrix))
                matrix.grad = None

    def _average(self, matrix: nn.Parameter) -> Tensor:
        """The blend mu M + (1 - mu) G, once M has moved towards G."""
        kept = self.state[matrix]
        if not kept:  # AdamW wants a count of steps when it is loaded
            kept |= {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(matrix),
            }
        kept["step"] += 1
        gradient, average = matrix.grad, local(kept["exp_avg"])
        assert gradient is not None
        average.lerp_(self._latched(local(gradient), average), 1 - _MOMENTUM)
        return torch.lerp(gradient, kept["exp_avg"], _MOMENTUM)

    def _latched(self, new: Tensor, otherwise: Tensor | float = 0.0) -> Tensor:
        """The second once a number was not finite, as fused Adam leaves all alone then."""
        latch = getattr(self, "found_inf", None)
        return new if latch is None else new.where(latch == 0, otherwise)


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T: (N, a, b) to (N, a, b).

    Its singular values are between 0.7 and 1.2, but for those that were next to zero.
    """
    a, b, c = _POLYNOMIAL
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def hidden_matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    """The weights of the layers that the nets of a module name by `hidden_layers()`.

    Last layers are not among them: their rows stand for things that need not be learned alike.
    Normalised weights are left out, and so is a net without that method.
    """
    for part in module.modules():
        if layers := getattr(part, "hidden_layers", None):
            weights = [layer.weight for layer in layers()]
            yield from (w for w in weights if isinstance(w, nn.Parameter) and w.requires_grad)
