"""An elementwise map with its directions swapped."""

from dataclasses import dataclass

from torch import Tensor

from caudal.elementwise.protocol import Elementwise


@dataclass(frozen=True)
class Swapped(Elementwise):
    """Forward is the map's inverse, and the reverse, as `caudal.Inverse` does to a bijection.

    An inverse autoregressive flow of a swapped affine map gives x_t = z_t s(z_<t) + m(z_<t): the
    net says scale and mean themselves, in the paper's form, instead of what undoes them.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433.
    """

    elementwise: Elementwise

    @property
    def n_params(self) -> int:
        return self.elementwise.n_params

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self.elementwise.inverse(z, params)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self.elementwise.forward(x, params)

    @property
    def scalar(self) -> None:
        return None

    def in_tails(self, x: Tensor) -> Tensor | None:
        return self.elementwise.in_tails(x)
