"""Plain tensors: the rows of a flow that was fitted in Python, without a schema of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor

from caudal.broadcasting import as_rows
from caudal.data import Dataset, Items, Source, TensorSchema, like
from caudal.data.dataset import Listed
from caudal.data.refusals import damage, missing_file
from caudal.data.unpacked import check_arrays, header_of
from caudal.errors import InputError
from caudal.files import check_regular, path_of
from caudal.flow import Flow
from caudal.modalities.rows import chunk_sizes, endless, in_chunks
from caudal.modalities.table import Table
from caudal.modalities.table.options import TableDrawing
from caudal.modality import Request, Requests, Voice
from caudal.recipes import Recipe
from caudal.report import TensorTeller
from caudal.training.rows import as_source, hold_out

NO_TEST = (
    "No test rows were given: those called so are the validation rows, by which the weights were "
    "chosen, so that the score is a little too good. Give caudal.fit test rows."
)


@dataclass(frozen=True)
class TensorOptions:
    """Which rows a flow was fitted to."""

    data: Any
    valid: Any = None
    test: Any = None
    seed: int = 0


@dataclass(frozen=True)
class TensorDrawing(TableDrawing):
    """What the samples of plain tensors are conditioned on, and whether they are corrected."""

    context_file: str | None = None
    """A table of values to condition on, one row for each sample, over again if there are
    fewer."""
    context: str | None = None
    """An .npy file of contexts, one for all samples or one for each, over again if there are
    fewer; from Python also a tensor or an array. Those of training rows if not given."""
    _objects: ClassVar[tuple[str, ...]] = (*TableDrawing._objects, "context")


def tensor_dataset(
    schema: TensorSchema, train: Source, valid: Source, test: Source | None
) -> Dataset:
    """Rows in three parts; the validation rows stand in for test rows that are not there."""
    notes = (NO_TEST,) if test is None else ()
    return Dataset(schema.what, schema, train, valid, test or valid, notes)


class Tensors(Table):
    """Vectors (N, D), with a context of any shape, as `caudal.fit` takes them.

    They are evaluated beside the Gaussian, and have the pictures of a table; given a context, it
    is told whether they are calibrated. Nothing else is measured: their columns have no meaning
    that could be explained or predicted.
    """

    name = "tensors"
    what = "plain tensors"
    names: ClassVar[Any] = ()
    formats = "tensors or arrays, in Python"
    options: ClassVar[Any] = TensorOptions
    drawing = TensorDrawing
    beginning: ClassVar[Any] = None
    target: ClassVar[Any] = None
    scoreboard: ClassVar[Any] = None
    explainer: ClassVar[Any] = None
    judged = 0
    teller = TensorTeller

    def recognises(self, data: Any) -> bool:
        """Nothing is: `caudal.train` takes an array for a table."""
        return False

    def takes(self, recipe: Any) -> bool:
        return False

    def open(self, options: Any, recipe: Recipe, schema: Any, voice: Voice) -> Dataset:
        train = as_source(options.data, schema.dtype)
        if options.valid is None:
            train, valid = hold_out(train, options.seed)
        else:
            valid = as_source(options.valid, schema.dtype)
        test = None if options.test is None else as_source(options.test, schema.dtype)
        return tensor_dataset(schema, train, valid, test)

    def open_all(
        self,
        data: Any,
        schema: Any,
        reading: Any,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Items:
        """Rows with their context, or a table or an array of the columns alone."""
        if not isinstance(data, tuple | Source):
            return super().open_all(data, schema, reading, options, voice)
        source = as_source(data, schema.dtype)
        rows = pa.table({"row": range(1, source.n_items + 1)})
        return Listed(self.what, source, rows, (), -(-source.n_items // source.items_at_a_time))

    def papers(self, options: Any, dataset: Dataset) -> Mapping[str, str]:
        return {}

    def requests(
        self, model: Any, n: int | None, drawing: Any, seed: int, voice: Voice
    ) -> Requests:
        """Contexts are those given, else those of training rows, where the flow has any."""
        flow = model.flow
        given = None if drawing.context is None else _contexts(drawing.context, flow)
        n = len(given) if n is None and given is not None else n
        requests = super().requests(model, n, drawing, seed, voice)
        if flow.context_shape is None:
            return requests
        if given is None:
            train = model.dataset_or("give `context`").train
            some = min(1024, train.n_rows)
            rows = endless(lambda turn: (b.context for b in train.shuffled(some, seed + turn)))
        else:
            rows = endless(lambda turn: iter([given]))
        contexts = in_chunks(rows, chunk_sizes(requests.samples, self.chunk(model.schema)))
        each = (r._replace(context=c) for r, c in zip(requests.each, contexts, strict=False))
        return requests._replace(each=each)

    def decode(self, schema: Any, x: Tensor, request: Request) -> tuple[Any, ...]:
        return (schema.decode(x),)

    def collect(self, schema: Any, parts: list[tuple[Any, ...]], container: str) -> Any:
        """A tensor, or the array that the rows were."""
        table = pa.concat_tables([table for (table,) in parts])
        return like(table, "numpy" if container == "numpy" else "torch")


def _contexts(context: Any, flow: Flow) -> Tensor:
    """Contexts (N, *context) of a flow, of a file, a tensor or an array of one or more.

    Raises:
        InputError: they do not fit the flow, are none or not finite, or the file is damaged.
    """
    if flow.context_shape is None:
        raise InputError("this run has no context: leave `context` out")
    if isinstance(context, str) and not context:
        raise InputError("`context` is empty: name an .npy file")
    if isinstance(context, str | Path):
        context = _read(path_of(context, "context"))
    if isinstance(context, np.ndarray) and context.dtype.kind not in "biuf":
        raise InputError(f"`context` must be numbers, got an array of type {context.dtype}")
    rows = as_rows(context, flow.like)
    flow.check_context(rows)
    if not rows.numel():
        raise InputError("`context` holds no rows")
    rows = rows.reshape(-1, *rows.shape[rows.ndim - len(flow.context_shape) :])
    bad = (~rows.reshape(len(rows), -1).isfinite()).any(1).nonzero()
    if len(bad):
        raise InputError(f"`context`, row {int(bad[0]) + 1}: a value is not finite")
    return rows


def _read(path: Path) -> np.ndarray:
    """The array of an .npy file."""
    name = str(path)
    if path.suffix != ".npy":
        raise InputError(f"`context` {name}: must be an .npy file")
    check_regular(path)
    if path.is_dir():
        raise InputError(f"`context` {name}: is a folder, and must be an .npy file")
    if not path.exists():
        raise missing_file(name)
    with damage(name):
        check_arrays(path, name)
        with path.open("rb") as file:
            if header_of(file)[1].hasobject:
                raise InputError(f"`context` {name}: must be an array of numbers, not of objects")
            file.seek(0)
            array: np.ndarray = np.load(file, allow_pickle=False)
            return array
