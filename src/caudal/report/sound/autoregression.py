"""The baseline of audio: each sample is Gaussian, its mean linear in those before it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal import files
from caudal.data.audio.clips import Clips
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import permutation
from caudal.dequantization.protocol import uniform
from caudal.errors import InputError

ORDER = 32
MOST = 2_000_000  # samples it is fitted to
CHUNK = 2**16  # samples at a time: bounds the memory


@dataclass(frozen=True)
class Autoregression:
    """A density of audio: y_t ~ N(bias + sum_k coefficient_k y_(t-k), std^2), y = x + u.

    x are whole numbers, u uniform in [0, 1), and what is before the start is 0. That is linear
    prediction, with one loudness for all of its residuals. It depends on the training clips alone
    and not on the recipe, so that any two runs on them are measured by the same thing.

    Attributes:
        coefficients: (P,) float64, the one of the sample just before first.
        bias: in whole numbers.
        std: of a residual, in whole numbers.
        bits: of a sample.
        note: what it is, in words.
    """

    coefficients: Tensor
    bias: float
    std: float
    bits: int
    note: str

    def log_prob(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Log-mass of x (B, T), whole numbers, in nats, a lower bound: (B,) float64.

        `generator` draws the noise, on the CPU.
        """
        x = x.double().cpu()
        residual = self.residuals(x + uniform(x, generator)) / self.std
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        log_prob = -0.5 * residual.square().sum(1) - constant * x.shape[1]
        full = 1 << (self.bits - 1)
        off = (x != x.round()) | (x < -full) | (x > full - 1)
        return log_prob.masked_fill(off.any(1), -torch.inf)

    def residuals(self, y: Tensor) -> Tensor:
        """What is left of y (B, T) when its mean is taken off, in whole numbers (B, T)."""
        before = F.pad(y, (len(self.coefficients), 0))[:, None, :-1]
        predicted = F.conv1d(before, self.coefficients.flip(0)[None, None])
        return y - predicted[:, 0] - self.bias


@torch.no_grad()
def fit_autoregression(
    clips: Clips, schema: AudioSchema, order: int = ORDER, seed: int = 0, most: int = MOST
) -> Autoregression:
    """The autoregression of highest likelihood for the clips, by least squares in float64.

    Args:
        clips: the training clips.
        schema: what they are.
        order: how many samples before it each one is predicted from.
        seed: of the dequantisation noise, and of which clips are taken if they are long.
        most: how many samples to take.
    """
    generator = torch.Generator().manual_seed(seed)
    cross, count = torch.zeros(order + 2, order + 2, dtype=torch.float64), 0
    for x in _some(clips, seed, most):
        y = x + uniform(x, generator)
        for rows in _rows(y, order):
            cross += rows.T @ rows
        count += len(y)
    features, target = cross[:-1, :-1], cross[:-1, -1]
    # Scaled to a diagonal of ones, and solved even where samples are linear in each other.
    scale = features.diagonal().sqrt()
    inverse = torch.linalg.pinv(features / scale / scale[:, None], rtol=1e-13, hermitian=True)
    found = inverse @ (target / scale) / scale
    variance = float(cross[-1, -1] - found @ target) / count
    note = (
        f"an autoregression of order {order}, Gaussian, fitted by least squares to {count:,} "
        f"samples of the training clips, uniformly dequantised; its bits are of whole "
        f"{schema.bits}-bit numbers, as the flow's are"
    )
    # The noise alone has a variance of 1/12.
    std = math.sqrt(max(variance, 1 / 12))
    return Autoregression(found[1:], float(found[0]), std, schema.bits, note)


def _some(clips: Clips, seed: int, most: int) -> Iterator[Tensor]:
    """Whole clips (T,) float64 in a random order, up to so many samples of them."""
    for index in permutation(len(clips.names), seed).tolist():
        if most <= 0:
            return
        x = clips.clip(index).x[0, :most].double().cpu()
        most -= len(x)
        yield x


def _rows(y: Tensor, order: int) -> Iterator[Tensor]:
    """For each sample of y (T,) a row [1, the samples before it, the nearest first, it]."""
    windows = F.pad(y, (order, 0)).unfold(0, order + 1, 1).flip(1)  # (T, P + 1)
    for some in windows.split(CHUNK):
        yield torch.cat([torch.ones_like(some[:, :1]), some[:, 1:], some[:, :1]], 1)


def save_autoregression(path: str | Path, baseline: Autoregression) -> None:
    """Writes the baseline to a .safetensors file, atomically."""
    from safetensors.torch import save

    parts = {
        "coefficients": baseline.coefficients.contiguous(),
        "bias": torch.tensor(baseline.bias, dtype=torch.float64),
        "std": torch.tensor(baseline.std, dtype=torch.float64),
        "bits": torch.tensor(baseline.bits),
    }
    with files.atomic(path) as temporary:
        temporary.write_bytes(save(parts, {"note": baseline.note}))


def load_autoregression(path: str | Path) -> Autoregression:
    """The baseline that `save_autoregression` wrote.

    Raises:
        InputError: the file is damaged, or no such baseline.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            coefficients = file.get_tensor("coefficients")
            bias, std = (float(file.get_tensor(name)) for name in ("bias", "std"))
            bits = int(file.get_tensor("bits"))
            note = (file.metadata() or {}).get("note", "")
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is damaged ({reason}): remove it, it is made anew") from None
    return Autoregression(coefficients, bias, std, bits, note)
