"""Two angles: ncsf beside zuko's neural circular spline flow, after equal seconds of a processor.

    OMP_NUM_THREADS=1 python benchmarks/circles.py
    OMP_NUM_THREADS=1 python benchmarks/circles.py --seconds 120 --seeds 3

The data are 20,000 draws of a mixture of four pairs of angles, as of a peptide's backbone, two of
which lie across the seam; its own density is known. Both libraries have the same loop: Adam,
batches of 512 rows, a rate that falls along a cosine with the time. The jump is the largest
difference of log p over the seam of either angle, between -pi and pi less a ten-thousandth.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caudal.recipes import NCSF
from environment import RESULTS
from pages import Facts, Results, text

ROWS, TEST, BATCH, RATE = 20_000, 20_000, 512, 2e-3
MEANS = torch.tensor([[-1.1, -0.7], [-1.5, 2.8], [3.0, 3.1], [1.0, 0.6]])
SHARPNESS = torch.tensor([[14.0, 10.0], [6.0, 8.0], [5.0, 3.0], [20.0, 16.0]])
SHARES = torch.tensor([0.45, 0.3, 0.17, 0.08])
_OFF = 1e-4  # radians from the seam


@dataclass
class Row:
    flow: str
    seconds: float
    seed: int
    steps: int
    log_prob: float
    two_se: float
    jump: float
    truth: float


def draw(n: int, seed: int) -> Tensor:
    """Pairs of angles (n, 2); the second one turns with the first."""
    torch.manual_seed(seed)
    which = torch.multinomial(SHARES, n, replacement=True)
    angles = torch.distributions.VonMises(MEANS[which], SHARPNESS[which]).sample()
    return wrapped(angles + _twist(angles[:, :1]))


def truth(x: Tensor) -> Tensor:
    """The log-density of pairs (B, 2), (B,)."""
    plain = wrapped(x - _twist(x[:, :1]))
    law = torch.distributions.VonMises(MEANS, SHARPNESS)
    return (law.log_prob(plain[:, None]).sum(2) + SHARES.log()).logsumexp(1)


def _twist(first: Tensor) -> Tensor:
    """What is added to both angles: nothing to the first, a wave to the second."""
    return torch.cat([torch.zeros_like(first), 0.8 * torch.sin(2 * first)], 1)


def wrapped(x: Tensor) -> Tensor:
    return torch.remainder(x + math.pi, 2 * math.pi) - math.pi


class _Zuko(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import zuko

        self.flow = zuko.flows.NCSF(2, transforms=3, hidden_features=(64, 64))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow().log_prob(x)


FLOWS: dict[str, Callable[[], nn.Module]] = {
    "caudal ncsf": lambda: NCSF().build((2,)),
    "caudal ncsf, autoregressive": lambda: NCSF(autoregressive=True).build((2,)),
    "zuko NCSF": _Zuko,
}


def run(name: str, seconds: float, seed: int) -> Row:
    """Trains one flow for so many seconds of one processor."""
    train, test = draw(ROWS, seed), draw(TEST, 1000)
    torch.manual_seed(seed)
    flow = FLOWS[name]()
    optimiser = torch.optim.Adam(flow.parameters(), lr=RATE)
    start, steps = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * spent)) / 2
        loss = -flow.log_prob(train[torch.randint(ROWS, (BATCH,))]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 100.0)
        optimiser.step()
        steps += 1
    flow.eval()
    with torch.no_grad():
        scores = flow.log_prob(test).double()
    error = 2 * float(scores.std()) / math.sqrt(TEST)
    known = float(truth(test).double().mean())
    return Row(name, seconds, seed, steps, float(scores.mean()), error, jump(flow), known)


@torch.no_grad()
def jump(flow: nn.Module) -> float:
    """The largest difference of log p from one side of the seam to the other."""
    others = torch.linspace(-3.1, 3.1, 201)
    found = []
    for angle in range(2):
        sides = []
        for end in (-math.pi + _OFF, math.pi - _OFF):
            x = torch.stack([others, others], 1)
            x[:, angle] = end
            sides.append(flow.log_prob(x))
        found.append(float((sides[0] - sides[1]).abs().max()))
    return max(found)


def report(rows: list[Row], facts: Facts) -> str:
    paragraphs = [
        "Nats a row, more is better; the seed moves the score of the same test rows by about "
        "0.005. The jump is the largest difference of log p across the seam of either angle.",
        f"The density that made the rows has {rows[0].truth:.3f}.",
    ]
    head = ["flow", "seconds", "seed", "steps", "log p", "± 2 s.e.", "jump at the seam"]
    cells = [
        [
            row.flow,
            f"{row.seconds:g}",
            str(row.seed),
            f"{row.steps:,}",
            f"{row.log_prob:.4f}",
            f"{row.two_se:.4f}",
            f"{row.jump:.4f}",
        ]
        for row in rows
    ]
    return text("Two angles", paragraphs, facts, ("", head, cells))


def key(row: Row) -> tuple[str, float, int]:
    return row.flow, row.seconds, row.seed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    order = list(FLOWS)
    results = Results(
        RESULTS / "circles.json", Row, key, lambda row: (order.index(row.flow), *key(row))
    )
    for seed in range(options.seeds):
        for name in FLOWS:
            results.add(run(name, options.seconds, seed), report)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
