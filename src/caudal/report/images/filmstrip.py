"""What a flow draws from the same noise, as its training goes on."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from caudal import files
from caudal.data import ImageSchema
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.report.film import Film
from caudal.report.images.sheets import classes_of, sample_images, view
from caudal.report.images.tiles import Panel, draw_panels, row_of, split_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 10
_NAME = re.compile(r"step-(\d+)\.png")


class Filmstrip(Film):
    """Called with a step, writes a row of samples to `folder/step-000123.png`, at temperature 1.

    Args:
        folder: for the pictures.
        flow: that is trained.
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


def steps_in(folder: str | Path) -> dict[int, Path]:
    """The pictures that a `Filmstrip` wrote, by their step and in order."""
    named = ((_NAME.fullmatch(path.name), path) for path in Path(folder).glob("step-*.png"))
    return dict(sorted((int(name[1]), path) for name, path in named if name))


def draw_filmstrip(folder: str | Path) -> "Figure":
    """Some of the steps, from the first to the last, each in a row."""
    pictures = steps_in(folder)
    if not pictures:
        raise InputError(f"{folder} has no pictures of training steps")
    steps = spread(list(pictures), MOST)
    rows = [_load(pictures[step]) for step in steps]
    return draw_panels([Panel(np.stack(rows), rows=[f"step {step:,}" for step in steps])])


def spread(steps: list[int], most: int) -> list[int]:
    """At most `most` of the steps, both ends among them.

    They are even in their square root, as early steps differ more.
    """
    if len(steps) <= most:
        return steps
    roots = np.sqrt(steps)
    chosen: list[int] = []
    for place, aim in enumerate(np.linspace(roots[0], roots[-1], most)):
        nearest = int(np.abs(roots - aim).argmin())
        first = chosen[-1] + 1 if chosen else 0
        last = len(steps) - most + place  # leaves a step for each place after it
        chosen.append(min(max(nearest, first), last))
    return [steps[i] for i in chosen]


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
