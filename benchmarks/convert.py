"""Sampling flows of zuko, nflows and normflows, by themselves and converted.

    taskset -c 0 python benchmarks/convert.py

The same weights on the same core, in turn: the peer draws rows, and so does what `caudal.convert`
makes of it. Sizes that the .json file has already are not run again.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
import zuko
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow, MaskedAutoregressiveFlow
from nflows.transforms import CompositeTransform, ReversePermutation
from nflows.transforms import autoregressive as nflows_ar
from normflows import NormalizingFlow
from normflows.distributions import DiagGaussian
from normflows.flows import AutoregressiveRationalQuadraticSpline

import caudal
from environment import PEERS as LIBRARIES
from environment import RESULTS, lines, made, of_the_page, table, write, write_json

LAYERS, HIDDEN = 5, 128
SIZES = [(d, n) for d in (6, 43) for n in (1, 1000)]
Peer = tuple[torch.nn.Module, Callable[[int], object]]


def zuko_flow(kind: Callable, features: int) -> Peer:
    flow = kind(features, transforms=LAYERS, hidden_features=(HIDDEN, HIDDEN))
    return flow, lambda n: flow().sample((n,))


def nflows_maf(features: int) -> Peer:
    flow = MaskedAutoregressiveFlow(features, HIDDEN, LAYERS, 1, use_residual_blocks=False).eval()
    return flow, flow.sample


def nflows_nsf(features: int) -> Peer:
    spline = partial(
        nflows_ar.MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        features=features,
        hidden_features=HIDDEN,
        num_bins=8,
        tails="linear",
        tail_bound=5.0,
    )
    steps = [step for _ in range(LAYERS) for step in (ReversePermutation(features), spline())]
    flow = Flow(CompositeTransform(steps), StandardNormal([features])).eval()
    return flow, flow.sample


def normflows_nsf(features: int) -> Peer:
    layers = [
        AutoregressiveRationalQuadraticSpline(features, 2, HIDDEN, permute_mask=i % 2 == 1)
        for i in range(LAYERS)
    ]
    flow = NormalizingFlow(DiagGaussian(features, trainable=False), layers).eval()
    return flow, lambda n: flow.sample(n)[0]


PEERS: dict[str, Callable[[int], Peer]] = {
    "zuko MAF": partial(zuko_flow, zuko.flows.MAF),
    "zuko NSF": partial(zuko_flow, zuko.flows.NSF),
    "nflows MAF": nflows_maf,
    "nflows NSF (AR)": nflows_nsf,
    "normflows NSF (AR)": normflows_nsf,
}


@torch.no_grad()
def measure(make: Callable[[int], Peer], features: int, rows: int, times: int) -> dict[str, float]:
    """Medians in milliseconds of both, run in turn, and the difference of their scores."""
    torch.manual_seed(0)
    peer, sample = make(features)
    for weight in peer.parameters():
        weight.add_(0.02 * torch.randn_like(weight))
    ours = caudal.convert(peer)
    ways: dict[str, Callable[[], object]] = {
        "peer": lambda: sample(rows),
        "caudal": lambda: ours.sample(rows),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()  # compiled loops are compiled
    for _ in range(times):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    found = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    pairs = zip(seconds["peer"], seconds["caudal"], strict=True)
    return {**found, "ratio": statistics.median(a / b for a, b in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "convert.json"
    cells = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for (features, rows), (name, make) in product(SIZES, PEERS.items()):
        what = {"flow": name, "features": features, "rows": rows}
        if any(what.items() <= cell.items() for cell in cells):
            continue
        cells.append({**what, **measure(make, features, rows, options.times), **made()})
        print(json.dumps(cells[-1]), flush=True)
        write_json(path, cells)
        tell(cells, options.times)
    tell(cells, options.times)


def tell(cells: list[dict], times: int) -> None:
    order = list(PEERS)
    cells = sorted(cells, key=lambda c: (order.index(c["flow"]), c["features"], c["rows"]))
    rows = [
        [c["flow"], str(c["features"]), f"{c['rows']:,}"]
        + [f"{c[key]:.1f}" for key in ("peer", "caudal")]
        + [f"{c['ratio']:.0f}", c["commit"], c["machine"]]
        for c in cells
    ]
    text = f"""{LAYERS} layers, two hidden layers of {HIDDEN} units, or residual blocks of them.
Medians of {times} runs in turn, in milliseconds of processor time of one core; the factor
is the median over pairs."""
    header = ["flow", "D", "rows", "its own ms", "converted ms", "times as fast"]
    header += ["commit", "machine"]
    facts = of_the_page(f"python benchmarks/convert.py --times {times}", LIBRARIES)
    page = ["# Sampling converted flows", "", *lines(facts), "", text, ""]
    write(RESULTS / "convert.md", "\n".join([*page, *table(header, rows)]) + "\n")


if __name__ == "__main__":
    main()
