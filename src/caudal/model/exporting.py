"""A model as ONNX graphs, which run without Python: its density, and its samples given noise."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from caudal.base import FREE
from caudal.bijections import AnyOrder, Correlate
from caudal.data.writing import prepare_output
from caudal.errors import InputError, NumericalError, one_line
from caudal.files import atomic, path_of
from caudal.flow import Flow
from caudal.model.graph import REPLACED
from caudal.numerics import RowNoise
from caudal.recipes import describe
from caudal.version import __version__

if TYPE_CHECKING:
    from caudal.model.model import Model

KEY = "caudal"
"""The key of the metadata in a graph."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_TRACED, _CHECKED = 5, 7  # rows: the number of rows of a graph is free, and so they differ
_SAME = 1e-3  # difference allowed between both, relative to the size of numbers


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        density: the graph x, context, noise -> log_prob; the last two where the flow has them.
        sampler: the graph z, context -> x; None where the flow samples by iteration.
        inputs: the shapes of one row of the inputs of both, by name.
        difference: the largest one between ONNX Runtime and PyTorch, beside the numbers' size.
    """

    density: Path
    sampler: Path | None
    inputs: dict[str, tuple[int, ...]]
    difference: float


class _Given(RowNoise):
    """Uniform numbers of each row, (B, K) in [0, 1), in the order in which they are asked for."""

    def __new__(cls, noise: Tensor) -> "_Given":
        return torch.Generator.__new__(cls)

    def __init__(self, noise: Tensor) -> None:
        self.noise, self.asked = noise, 0

    def stratified(self, like: Tensor) -> Tensor:
        start, self.asked = self.asked, self.asked + like[0].numel()
        return self.noise[:, start : self.asked].reshape(like.shape) * 2.0**24


class _Density(nn.Module):
    def __init__(self, flow: Flow, names: list[str]) -> None:
        super().__init__()
        self.flow, self.names = flow, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Log-densities (B,) of inputs in the order of their names."""
        values = dict(zip(self.names, inputs, strict=True))
        noise = _Given(values["noise"]) if "noise" in values else None
        return self.flow.log_prob(values["x"], values.get("context"), noise)


class _Sampler(nn.Module):
    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Samples (B, *event) of noise z."""
        return self.flow.decode(z, context)


def export(model: "Model", out: str | Path, *, overwrite: bool = False) -> Exported:
    """Writes the density as an ONNX graph to `out`, and its samples given noise beside it.

    Rows go in as the schema encodes them, in batches of any size; the metadata of the graphs
    have the schema, the recipe, and the threshold of an alarm. ONNX Runtime checks both. The name
    of the second graph has -sample at its end. Both take their places when all is done, so that a
    failure leaves what was there before.

    Raises:
        InputError: a package of `caudal[onnx]` is missing, a file is there, or the flow has no
            such graph: its events have any length, or its density is an estimate.
        NumericalError: ONNX Runtime gives other numbers.
    """
    path = path_of(out)
    sampler = path.with_stem(f"{path.stem}-sample")
    _check(model)
    for file in (path, sampler):
        prepare_output(file, overwrite)
    flow = deepcopy(model.flow).cpu().eval()
    settle(flow)
    about = json.dumps(_about(model, flow))
    inputs = _inputs(flow, _TRACED)
    others = _inputs(flow, _CHECKED)
    z, samples = (values.pop("z") for values in (inputs, others))
    shapes = {name: tuple(value.shape[1:]) for name, value in {**inputs, "z": z}.items()}
    density = _Density(flow, list(inputs))
    with atomic(path) as written:
        apart = _write(written, density, inputs, others, "log_prob", about)
        if model.recipe.samples == "iterated":
            return Exported(path, None, shapes, apart)
        noises = [
            {"z": noise, **{k: v for k, v in values.items() if k == "context"}}
            for noise, values in ((z, inputs), (samples, others))
        ]
        with atomic(sampler) as beside:
            apart_too = _write(beside, _Sampler(flow), noises[0], noises[1], "x", about)
    return Exported(path, sampler, shapes, max(apart, apart_too))


def _check(model: "Model") -> None:
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError:
            raise InputError(
                f"export needs the package {name}: pip install 'caudal[onnx]'"
            ) from None
    flow = model.flow
    if FREE in flow.event_shape:
        raise InputError("export takes events of one shape, and clips have any length")
    if flow.estimated:
        raise InputError("export takes densities that are computed, and this one is estimated")


def settle(flow: Flow) -> None:
    """Works out beforehand what follows from the order of the tokens, which in a graph is one."""
    for tokens in flow.modules():
        if isinstance(tokens, AnyOrder):
            for part in tokens.modules():
                if isinstance(part, Correlate) and part.ordered:
                    part.settle(tokens.order)


@torch.no_grad()
def _inputs(flow: Flow, rows: int) -> dict[str, Tensor]:
    """Inputs of both graphs: x, and context and noise where the flow has them; and z."""
    generator = torch.Generator().manual_seed(rows)
    like: Any = {"generator": generator, "dtype": flow.base.like.dtype}
    shape = flow.context_shape
    context = None if shape is None else torch.zeros(rows, *shape, dtype=flow.base.like.dtype)
    z = flow.base.sample(rows, generator)
    inputs = {"x": flow.decode(z, context)}
    if context is not None:
        inputs["context"] = context
    if flow.filled:
        asked = _Given(torch.rand(rows, 1 << 16, **like))
        flow.lift(inputs["x"], asked)
        inputs["noise"] = asked.noise[:, : asked.asked].contiguous()
    return {**inputs, "z": z}


def _about(model: "Model", flow: Flow) -> dict[str, Any]:
    """What a reader of the graph needs to know of its numbers."""
    schema = model._schema
    threshold = model.threshold() if schema is not None and model.kind.judged else None
    return {
        "version": __version__,
        "recipe": describe(model.recipe),
        "schema": None if schema is None else schema.to_dict(),
        "unit": "nats a row",
        "kind": flow.kind,
        "threshold": None if threshold is None else vars(threshold),
    }


def _write(
    path: Path,
    module: nn.Module,
    traced: dict[str, Tensor],
    checked: dict[str, Tensor],
    output: str,
    about: str,
) -> float:
    """Writes one graph; gives the largest difference from the module."""
    rows = torch.export.Dim("rows")
    dynamic = tuple({0: rows} for _ in traced)
    with _quietly(), torch.no_grad():
        try:
            args = tuple(traced.values())
            if isinstance(module, _Density):
                shapes: Any = (dynamic,)
            else:
                shapes = dynamic
            program = torch.export.export(module, args, dynamic_shapes=shapes, strict=False)
            table = torch.export.default_decompositions()
            table.update(REPLACED)
            made = torch.onnx.export(
                program.run_decompositions(table),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(traced),
                output_names=[output],
                verbose=False,
            )
        except Exception as error:  # whatever a compiler can raise
            raise InputError(f"the flow has no ONNX graph: {one_line(error, 300)}") from error
        assert made is not None
        for node in made.model.graph.all_nodes():
            node.metadata_props.clear()  # stacks of calls, with the paths of this machine
        made.model.metadata_props[KEY] = about
        made.save(path, external_data=False)
        expected = module(*checked.values())
    actual = run(path, checked)
    apart = float(((actual - expected).abs() / (1 + expected.abs())).max())
    if not apart <= _SAME:
        raise NumericalError(
            f"ONNX Runtime gives numbers of {output} {apart:.2g} apart: nothing was written"
        )
    return apart


def run(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    """The output of a graph by ONNX Runtime."""
    runtime = import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(output)


@contextmanager
def _quietly() -> Iterator[None]:
    """Within, compilers keep what concerns their authors to themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
