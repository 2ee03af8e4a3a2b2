"""The map of a token within an autoregressive layer: its numbers depend on each other too."""

from collections.abc import Sequence

from torch import Tensor, nn

from caudal.bijection import Chain
from caudal.bijections.coupling import Coupling


class TokenCouplings(nn.Module):
    """x_t = c_1(.. c_K(z_t; f_t) ..; f_t): couplings of the C numbers of token t, given features.

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
        self.couplings = Chain(couplings)
        self.n_params = n_features
        self.elementwise = couplings[0].elementwise

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """From noise to data: x and log|det dx_t/dz_t| of each token, (B, 1, T)."""
        return _as_events(*self.couplings(*_as_tokens(z, features)), like=z)

    def inverse(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """From data to noise: z and log|det dz_t/dx_t| of each token, (B, 1, T)."""
        return _as_events(*self.couplings.inverse(*_as_tokens(x, features)), like=x)

    def in_tails(self, x: Tensor) -> Tensor | None:
        """Mask of numbers in the linear tails of the couplings' map, None if it has none."""
        return self.elementwise.in_tails(x)

    def __repr__(self) -> str:
        return f"{len(self.couplings.parts)} couplings by {self.elementwise}"


def _as_tokens(value: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens as rows: (B T, C), and their features, (B T, F C)."""
    given = features.flatten(1, 2).transpose(1, 2)
    return value.transpose(1, 2).flatten(0, 1), given.flatten(0, 1)


def _as_events(tokens: Tensor, log_det: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of tokens (B T, C) as events (B, C, T), and their log-dets (B T,) as (B, 1, T)."""
    rows = like.shape[0]  # a graph keeps it free, and fixes len()
    return tokens.unflatten(0, (rows, -1)).transpose(1, 2), log_det.view(rows, 1, -1)
