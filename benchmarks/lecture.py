"""The figures of docs/lecture.md, and the numbers beside them.

    python benchmarks/lecture.py                  all of it, about 12 minutes of a core
    python benchmarks/lecture.py --only nice-mnist    one part
    python benchmarks/lecture.py --help           the parts

Images are MNIST and CIFAR-10 of `--data-dir`; without them the built-in digits take their place.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import Tensor

import caudal
from caudal import Flow, Inverse
from caudal.base import GaussianMixture, Normal
from caudal.bijections import Autoregressive, Coupling, LULinear
from caudal.elementwise import Affine, Shift
from caudal.losses import forward_kl, reverse_kl
from caudal.nets import MADE, MLP, Constant, Rerun
from environment import RESULTS, ROOT, describe, write_json
from images import cifar
from tables import DATA_DIR

IMAGES = ROOT / "docs" / "images"
_LOGIT = {"pixels": "logit"}
_REALNVP = {"size": "small", "validate_rows": 200}
PLANS: dict[tuple[str, str], dict[str, Any]] = {
    ("nice", "mnist"): {**_LOGIT, "steps": 3000, "validate_every": 1000, "resize": (14,)},
    ("nice", "cifar10"): {"minutes": 2.0, "whiten": True},
    ("realnvp", "mnist"): {**_REALNVP, "steps": 1200, "validate_every": 600, "resize": (14,)},
    ("realnvp", "cifar10"): {**_REALNVP, "steps": 200, "validate_every": 200},
    ("glow", "cifar10"): {"steps": 1200, "validate_every": 300, "optimizer": "muon"},
}
"""How a recipe trains on data; minutes are for training, evaluation and all. At full size a few
minutes of a core give no digits, and so MNIST has 14 by 14 pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    options = parser.parse_args()
    matplotlib.use("Agg")
    path = RESULTS / "lecture.json"
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in options.only:
        torch.manual_seed(0)
        begun, facts = time.process_time(), describe(("torch",))
        found = PARTS[name](options.data_dir)
        seconds = round(time.process_time() - begun)
        facts |= {"command": f"python benchmarks/lecture.py --only {name}"}
        told[name] = {"of": {**facts, "seconds of a core": seconds}, "found": found}
        print(f"{name}: {seconds} s of a core, {found}", flush=True)
        write_json(path, told)


def draw_jacobians(_: Path) -> dict[str, float]:
    """|dx/dz| of five layers with random weights, at one point."""
    keep = torch.arange(6) % 2 == 0
    layers = {
        "additive coupling\n(NICE)": Coupling(MLP(3, 3, 1, (16,)), Shift(), keep),
        "affine coupling\n(Real-NVP)": Coupling(MLP(3, 3, 2, (16,)), Affine(), keep),
        "autoregressive\n(MAF)": Autoregressive(MADE(6, 2, (16,)), Affine()),
        "its inverse\n(IAF)": Inverse(Autoregressive(MADE(6, 2, (16,)), Affine())),
        "linear: L times U\n(Glow)": LULinear(6),
    }
    order = torch.cat([torch.arange(6)[keep], torch.arange(6)[~keep]])
    figure, axes = plt.subplots(1, len(layers), figsize=(11, 2.7), layout="constrained")
    errors = {}
    z = torch.randn(6, dtype=torch.float64)
    for axis, (name, layer) in zip(axes, layers.items(), strict=True):
        for weight in layer.parameters():
            torch.nn.init.normal_(weight, std=0.4)
        forward = layer.double().forward
        jacobian = torch.autograd.functional.jacobian(lambda z, f=forward: f(z[None])[0][0], z)
        told = forward(z[None])[1].item()
        errors[name.split("\n")[0]] = abs(told - torch.linalg.slogdet(jacobian)[1].item())
        coupled = isinstance(layer, Coupling)
        shown = jacobian[order][:, order] if coupled else jacobian
        size = shown.abs().log10().masked_fill(shown.abs() < 1e-12, math.nan)
        image = axis.imshow(size, cmap="viridis", vmin=-2, vmax=0.6)
        names = [f"{i + 1}" for i in (order.tolist() if coupled else range(6))]
        axis.set(title=name, xlabel="column of z", xticks=range(6), yticks=range(6))
        axis.set_xticklabels(names)
        axis.set_yticklabels(names)
        axis.title.set_size(10)
    axes[0].set_ylabel("column of x")
    figure.colorbar(image, ax=axes, label="log10 |∂x/∂z|", shrink=0.9)
    _save(figure, "jacobians")
    return errors


def draw_divergences(_: Path) -> dict[str, Any]:
    """One Gaussian that learns two modes by either divergence."""
    teacher = GaussianMixture(torch.tensor([[-3.0], [3.0]]), 0.8)
    found: dict[str, Any] = {}
    grid = torch.linspace(-7, 7, 701)[:, None]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    drawn = teacher.sample(20_000)
    for axis, name in zip(axes, ("KL(q‖p)", "KL(p‖q)"), strict=True):
        net = Constant(1, 2)
        net.values.data = torch.tensor([[1.0], [0.0]])  # a mean of 1, a deviation of 1
        nothing = torch.zeros(1, dtype=torch.bool)
        student = Flow(Coupling(net, Affine(), nothing), Normal((1,)))
        optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
        for _step in range(400):
            optimizer.zero_grad()
            if name == "KL(q‖p)":
                loss = reverse_kl(student, teacher.log_prob, n=512)
            else:
                loss = forward_kl(student, teacher.log_prob, drawn[torch.randint(20_000, (512,))])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            reverse = float(reverse_kl(student, teacher.log_prob, n=100_000))
            forward = float(forward_kl(student, teacher.log_prob, drawn))
            axis.plot(grid, teacher.log_prob(grid).exp(), color="0.6", lw=6, label="teacher p")
            axis.plot(grid, student.log_prob(grid).exp(), color="C0", lw=2, label="student q")
        axis.set(title=f"minimises {name}", xlabel="x")
        axis.text(
            0.02,
            0.95,
            f"KL(q‖p) = {reverse:.2f} nats\nKL(p‖q) = {forward:.2f} nats",
            transform=axis.transAxes,
            va="top",
        )
        found[name] = {"reverse": reverse, "forward": forward}
    axes[0].set_ylabel("density")
    axes[1].legend(loc="upper right")
    _save(figure, "divergences")
    return found


def measure_speed(_: Path) -> dict[str, Any]:
    """Milliseconds of both directions of MAF and IAF, medians of five, 100 rows, one thread."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for columns in (8, 64, 512):
        for name, recipe in {"maf": caudal.recipes.MAF, "iaf": caudal.recipes.IAF}.items():
            flow = recipe(layers=3, hidden=(128, 128)).build((columns,)).eval()
            rows = torch.randn(100, columns)
            density = _milliseconds(_scoring(flow, rows))
            samples = _milliseconds(_sampling(flow))
            told = {"density": density, "samples": samples}
            for layer in flow.modules():
                if isinstance(layer, Autoregressive):
                    layer.net = Rerun(layer.net)
            slow = _sampling(flow) if name == "maf" else _scoring(flow, rows)
            found[f"{name} {columns}"] = {**told, "slow way by whole passes": _milliseconds(slow)}
    return found


def _scoring(flow: Flow, rows: Tensor) -> Callable[[], Tensor]:
    return lambda: flow.log_prob(rows)


def _sampling(flow: Flow) -> Callable[[], Tensor]:
    return lambda: flow.sample(100)


def _milliseconds(call: Callable[[], Tensor]) -> float:
    times = []
    with torch.no_grad():
        call()  # compiled loops
        for _ in range(5):
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def show_images(recipe: str, data: str, data_dir: Path) -> dict[str, Any]:
    """Trains a recipe on images, and draws test images beside samples."""
    images, plan = _images(data, data_dir), dict(PLANS[recipe, data])
    if is_small := not isinstance(images, str):
        plan.pop("resize", None)
    fields = {"hidden": (512, 512)} if recipe == "nice" else {}
    model = caudal.train(recipe, images, seed=0, **plan, **fields)
    evaluation = model.evaluate()
    if (recipe, data) == ("realnvp", "mnist"):
        model.interpolate(IMAGES / "lecture-manifold.png", n=9, overwrite=True)
    test = model.dataset.test.x[:48].permute(0, 2, 3, 1)
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    for axis, what, shown in zip(
        axes, ("test images", "samples"), (test, model.sample(48, seed=0)), strict=True
    ):
        axis.imshow(_sheet(torch.as_tensor(shown)), cmap="gray", interpolation="nearest")
        axis.set(title=f"{data}: {what}", xticks=[], yticks=[])
    _save(figure, f"{recipe}-{data}")
    return {
        "bits": evaluation.score,
        "two_se": evaluation.two_se,
        "baseline": evaluation.baseline,
        "data": "digits" if is_small else data,
    }


def _images(data: str, data_dir: Path) -> Any:
    """The path of images; the digits of scikit-learn themselves, if they are not there."""
    if not (data_dir / data).exists():
        return (load_digits().images * 15.9).astype("uint8")
    return cifar(data_dir) if data == "cifar10" else str(data_dir / data)


def _sheet(images: Tensor, columns: int = 8) -> Tensor:
    """Images (N, H, W, C) as one (rows H, columns W, C), C dropped where it is 1."""
    n, height, width, channels = images.shape
    rows = images[: n - n % columns].reshape(-1, columns, height, width, channels)
    return rows.permute(0, 2, 1, 3, 4).reshape(-1, columns * width, channels).squeeze(-1)


def _save(figure: Any, name: str) -> None:
    figure.savefig(IMAGES / f"lecture-{name}.png", dpi=110)
    plt.close(figure)


PARTS: dict[str, Callable[[Path], Any]] = {
    "jacobians": draw_jacobians,
    "divergences": draw_divergences,
    "speed": measure_speed,
    **{"-".join(plan): partial(show_images, *plan) for plan in PLANS},
}

if __name__ == "__main__":
    main()
