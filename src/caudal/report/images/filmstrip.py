"""What a flow draws from the same noise, as its training goes on."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from caudal import files
from caudal.data import ImageSchema
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.report.film import Film, spread, steps_in
from caudal.report.images.sheets import classes_of, sample_images, view
from caudal.report.images.tiles import Panel, draw_panels, row_of, split_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 10


class Filmstrip(Film):
    """Called with a step, writes a row of samples to `folder/step-000123.png`, at temperature 1.

    Args:
        folder: for the pictures.
        flow: the one that is trained.
        schema: what its images are.
        seed: of the noise.
        context: one row, or n; by default the classes in turn if the flow is conditioned.
        n: how many samples.
    """

    def __init__(
        self,
        folder: str | Path,
        flow: Flow,
        schema: ImageSchema,
        seed: int,
        context: Tensor | None = None,
        n: int = 8,
    ) -> None:
        super().__init__(folder, flow, seed)
        self.schema, self.n = schema, n
        self.context = _rows(context, flow, schema, n)

    def write(self, path: Path) -> Path:
        drawn = sample_images(self.flow, self.schema, self.n, self.context, seed=self.seed)
        path = path.with_suffix(".png")
        with files.atomic(path) as temporary:
            _save(temporary, view(self.schema, drawn))
        return path


def draw_filmstrip(folder: str | Path) -> "Figure":
    """Some of the steps, from the first to the last, each in a row."""
    pictures = steps_in(folder)
    if not pictures:
        raise InputError(f"{folder} has no pictures of training steps")
    steps = spread(list(pictures), MOST)
    rows = [_load(pictures[step]) for step in steps]
    return draw_panels([Panel(np.stack(rows), rows=[f"step {step:,}" for step in steps])])


def _rows(context: Tensor | None, flow: Flow, schema: ImageSchema, n: int) -> Tensor | None:
    if context is None:
        classes = classes_of(schema) if flow.context_shape is not None else None
        return classes.cycled(n) if classes else None
    return context if context.ndim > 1 else context.expand(n, -1)


def _save(path: Path, images: np.ndarray) -> None:
    """Writes a row of images, and how many they are."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("images", str(len(images)))
    Image.fromarray(row_of(images)).save(path, pnginfo=info)


def _load(path: Path) -> np.ndarray:
    """The images that `_save` wrote (n, H, W, 3)."""
    from PIL import Image

    with Image.open(path) as image:
        return split_row(np.asarray(image.convert("RGB")), int(image.info["images"]))
