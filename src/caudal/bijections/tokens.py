"""The map of a token within an autoregressive layer: its numbers depend on each other too."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from caudal.bijection import Direction
from caudal.bijections.coupling import Coupling


class TokenCouplings(nn.Module):
    """x_t = c_K(.. c_1(z_t; f_t) ..; f_t): couplings of the C numbers of token t, given features.

    It stands in the place of an elementwise map in `Autoregressive`: what the causal net tells of
    token t, from the tokens before, are then no parameters but features f_t, and these steer the
    couplings, whose nets all tokens share. So a token's numbers need not be independent given the
    tokens before, as those of neighbouring pixels are not, while a step still makes a token whole.
    Values are (B, C, T), features (B, F, C, T); the log-det of each token comes as (B, 1, T).
    References: NICE (Dinh, Krueger, Bengio, 2014), arXiv:1410.8516 (couplings); MADE (Germain,
    Gregor, Murray, Larochelle, 2015), arXiv:1502.03509 (a causal net's parameters).

    Args:
        couplings: from the noise to the data, of events (C,) with context (F C,).
        n_features: features of each number, F.
    """

    scalar = None
    """No compiled loop knows it (see `caudal.elementwise.Elementwise.scalar`)."""

    def __init__(self, couplings: Sequence[Coupling], n_features: int) -> None:
        super().__init__()
        # No chain: a layer with one inside would not be recomputed as a whole.
        self.couplings = nn.ModuleList(couplings)
        self.n_params = n_features
        self.elementwise = couplings[0].elementwise

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """From noise to data: x and log|det dx_t/dz_t| of each token, (B, 1, T)."""
        return _by_tokens([coupling.forward for coupling in self._listed()], z, features)

    def inverse(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """From data to noise: z and log|det dz_t/dx_t| of each token, (B, 1, T)."""
        return _by_tokens([coupling.inverse for coupling in self._listed()[::-1]], x, features)

    def _listed(self) -> list[Coupling]:
        return cast("list[Coupling]", list(self.couplings))

    def in_tails(self, x: Tensor) -> Tensor | None:
        """Mask of numbers in the linear tails of the couplings' map, None if it has none."""
        return self.elementwise.in_tails(x)

    def __repr__(self) -> str:
        return f"{len(self.couplings)} couplings by {self.elementwise}"


def _by_tokens(
    passes: Sequence[Direction], value: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Passes one after the other, whose rows are the tokens of all events."""
    rows, channels, length = value.shape
    tokens = value.transpose(1, 2).flatten(0, 1)  # (B T, C)
    given = features.flatten(1, 2).transpose(1, 2).flatten(0, 1)  # (B T, F C)
    log_det = tokens.new_zeros(tokens.shape[0])
    for pass_ in passes:
        tokens, own = pass_(tokens, given)
        log_det = log_det + own
    moved = tokens.reshape(rows, length, channels).transpose(1, 2)
    return moved, log_det.view(rows, 1, length)
