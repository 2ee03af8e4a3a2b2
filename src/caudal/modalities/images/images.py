"""Images of one shape: folders, arrays, IDX and Parquet files, the Hugging Face hub."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.bijection import Bijection, Chain
from caudal.bijections import ZCA, Flattened, Logit, Rescale, Standardise
from caudal.data import Dataset, ImageSchema, ImageWriter, Items, open_images, open_whole
from caudal.data.images.open import BUILT_IN_IMAGES as NAMES
from caudal.data.images.open import FORMATS, finds_images, labels_of_part
from caudal.data.images.schema import LOGITS
from caudal.data.splits import TEST
from caudal.dequantization import ImageDequantization, PixelDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modalities.contexts import CHUNK, Contexts
from caudal.modalities.images.denoise import Denoised
from caudal.modalities.images.inpaint import Inpainted, own_labels
from caudal.modalities.images.options import ImageDrawing, ImageOptions, ImageReading
from caudal.modalities.images.words import across, classes_line, preview
from caudal.modalities.rows import OneShape, class_names
from caudal.modality import Examples, Request, Voice, Watch, opening
from caudal.nets import ColumnEmbedding, Embedding, Withheld
from caudal.recipes import Recipe, TarFlow
from caudal.recipes.multiscale import halvings_of, variational
from caudal.recipes.recipe import own_bijection
from caudal.recipes.tarflow import USUAL_TOKENS, in_small_patches, patch_of
from caudal.report import (
    Filmstrip,
    ImageGuide,
    ImageTeller,
    PixelGaussian,
    draw_manifold,
    folder_of,
    write_figure,
)

_DRAWN_NUMBERS = 1 << 20  # pixels at a time: bounds the memory
_FAST = {"lr": 1e-2, "clip": 0.0}
_TRAINING = {
    "glow": _FAST,
    "realnvp": _FAST,
    "nsf-image": _FAST,
    "nice": {"lr": 3e-3},
    "iresnet": {"lr": 4e-3, "clip": 0.0},
    "residual-flow": {"lr": 4e-3, "clip": 0.0},
    "mintnet": {"lr": 4e-3, "clip": 0.0},
    "tarflow": _FAST,
}
"""What trains best in a few minutes, of the recipes that were tried. Gradients of images are so
long that the usual clip would act in every step."""


_BEHIND = {
    "tarflow": ("nice", "realnvp", "iresnet", "residual-flow"),
    "glow": ("nice", "iresnet", "residual-flow"),
}
"""Recipes that the usual one of some images is ahead of (benchmarks/results/image_recipes.md)."""
_INK = 0.01  # alphas below it: most pixels are black or white
_MEASURE = 784  # pixels
_SHORT, _LONG = 3.0, 15.0  # minutes for so many


class Images(OneShape):
    """Images of one size, as masses of whole pixel values."""

    name = "images"
    what = "images"
    names = NAMES
    formats = FORMATS
    options = ImageOptions
    reading = ImageReading
    drawing = ImageDrawing
    baseline = PixelGaussian
    draws = 4
    classified = 500
    teller = ImageTeller
    guide = ImageGuide()
    usual_samples = 64
    trainable = "glow, realnvp or another recipe of images (caudal recipes)"
    usual_recipe = "tarflow"
    also_usual = ("glow", "nsf")

    # --- data -----------------------------------------------------------------------------------

    def recognises(self, data: Any) -> bool:
        return finds_images(data)

    def takes(self, recipe: type[Recipe]) -> bool:
        return (recipe.images or recipe.vectors) and not recipe.circular

    def open(
        self,
        options: ImageOptions,
        recipe: Recipe,
        schema: ImageSchema | None,
        voice: Voice,
    ) -> Dataset:
        usual = _pixels(recipe, options.pixel_noise)
        chosen = {**opening(options), "pixels": options.pixels or usual}
        opened = open_images(**chosen, schema=schema, progress=voice.reading(self.what))
        if schema is None and options.pixels is None and usual == "white":
            pixels = _fitting(recipe, opened.schema)
            return replace(opened, schema=replace(opened.schema, pixels=pixels))
        return opened

    def open_all(
        self,
        data: Any,
        schema: ImageSchema,
        reading: ImageReading,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Items:
        """The images are cut and scaled as those of the run, unless `reading` says otherwise."""
        sizes = {name: value for name in _SIZES if (value := getattr(reading, name))}
        if not sizes:
            sizes = {name: _sizes(options.get(name, ())) for name in _SIZES}
        labels: dict[str, Any] = {name: options.get(name) for name in ("labels", "metadata")}
        progress = voice.reading(self.what)
        return open_whole(
            data, schema, corrupt=reading.corrupt, progress=progress, **sizes, **labels
        )

    def settled(self, options: ImageOptions, dataset: Dataset) -> ImageOptions:
        """The pixels, their alpha and bits are those of the schema, whoever chose them."""
        schema = dataset.schema
        alpha = schema.alpha if schema.pixels in LOGITS else options.alpha
        return replace(options, pixels=schema.pixels, alpha=alpha, bits=schema.bits)

    # --- flows ----------------------------------------------------------------------------------

    def training(self, recipe: type[Recipe]) -> Mapping[str, Any]:
        """A few minutes on one core: small batches, and a large rate that falls to zero."""
        usual = {"batch_size": 32, "patience": 0}
        return {**usual, **_TRAINING.get(recipe.name, {})}

    def teaching(self, student: type[Recipe]) -> Mapping[str, Any]:
        """Students that learn from samples alone learn as flows of images do."""
        own = _TRAINING.get(student.name) if student.samples == "parallel" else None
        return {"batch_size": 64, **own} if own else {}

    def dress(self, recipe: Recipe, schema: ImageSchema) -> Flow:
        """The recipe's flow, dressed for images: log_prob is a mass of whole numbers, in nats.

        From the data to the noise: dequantisation, pixel values to where the flow has them
        (`schema.pixels`), the recipe's bijection; a recipe of vectors gets images flattened.
        A schema without `pixels` may be older than whitening, and means logits.
        """
        if not self.takes(type(recipe)):
            raise InputError(f"{recipe.name} does not model images: take {self.trainable}")
        shape, usual = schema.shape, _pixels(recipe, schema.pixel_noise).replace("white", "logit")
        embedding = _embedding(schema)
        context = (embedding.n_features,) if embedding else None
        if recipe.images:
            core = recipe.build(shape, context, standardise=False)
            bijection, base = own_bijection(recipe, core), core.base
        else:
            features = (schema.countable,)
            core = recipe.build(features, context, standardise=False)
            # Pixels that hardly vary start as noise like the others; otherwise NICE takes hours.
            inner = Chain([own_bijection(recipe, core), Standardise(features)])
            bijection = Flattened(inner, shape)
            base = core.base.reshaped(shape)
        return Flow(
            Chain([bijection, *_to_pixels(schema, schema.pixels or usual)]),
            base,
            context_shape=(len(schema.context),) if schema.context else None,
            embedding=embedding,
            dequantization=_dequantization(schema),
        )

    def size(self, dataset: Dataset, minutes: float | None) -> str | None:
        """By the time there is for a pixel: that of MNIST's images is the measure."""
        if minutes is None:
            return None
        per_pixel = minutes * _MEASURE / dataset.schema.countable
        return "small" if per_pixel < _SHORT else "medium" if per_pixel < _LONG else "large"

    def recipe_for(self, dataset: Dataset) -> str:
        """Transformers over small patches of gray images; else Glow, or nsf if none can be halved.

        In equal time they are ahead of Glow on gray images, and behind on colour ones
        (benchmarks/results/transformer.md).
        """
        shape = dataset.schema.shape
        if shape[0] == 1 and in_small_patches(shape):
            return self.usual_recipe
        return "glow" if halvings_of(shape) else "nsf"

    def watch(
        self, recipe: Recipe, flow: Flow, dataset: Dataset, seed: int, folder: Path
    ) -> Watch | None:
        """Leaves samples in the run folder while the flow is trained, if drawing is cheap.

        It is in one pass, and of a transformer over no more patches than are usual.
        """
        if recipe.samples != "parallel" and not _of_few_patches(recipe, dataset.schema):
            return None
        return Filmstrip(folder_of(folder), flow, dataset.schema, seed)

    # --- samples --------------------------------------------------------------------------------

    def chunk(self, schema: ImageSchema) -> int:
        return max(1, _DRAWN_NUMBERS // schema.countable)

    def contexts(
        self, model: Any, asked: Contexts, drawing: ImageDrawing, seed: int, voice: Voice
    ) -> Iterator[Tensor]:
        """All classes in turn; with several labels, those of the training images in turn.

        Images that are inpainted have their own labels.
        """
        if drawing.inpaint is None:
            return self._in_turn(model)
        if not asked.columns or not asked.free or asked.table is not None:
            return iter(())
        rows = own_labels(model, drawing.inpaint, asked)
        return repeat(rows.repeat(max(1, CHUNK // len(rows)), 1))

    def _in_turn(self, model: Any) -> Iterator[Tensor]:
        levels = model.schema.levels_of_context
        if len(levels) == 1 and levels[0]:
            turns = torch.arange(levels[0]).repeat(max(1, CHUNK // levels[0]))
            yield from (turns.float().unsqueeze(1) for _ in count())
        instead = "give contexts with `context_file` or `given`"
        for _ in count():
            yield model.dataset_or(instead).train.context

    def draw(self, model: Any, drawing: ImageDrawing, temperature: float) -> Any:
        if (drawing.inpaint is None) != (drawing.mask is None):
            raise InputError(
                "`inpaint` names images and `mask` what of them is hidden: give both, or neither"
            )
        if drawing.inpaint is None:
            return Denoised(model, temperature) if drawing.denoise else model.draw(temperature)
        if temperature != 1 or drawing.denoise:
            other = "denoise" if drawing.denoise else "temperature"
            raise InputError(f"`inpaint` gives samples of the density: leave `{other}` out")
        sizes = {name: _sizes(model.config.get(name, ())) for name in _SIZES}
        return Inpainted(model, drawing.inpaint, drawing.mask, sizes)

    def decode(self, schema: ImageSchema, x: Tensor, request: Request) -> tuple[Any, ...]:
        return schema.decode(x), class_names(schema.context, request.context)

    def cells(self, schema: ImageSchema, grid: Tensor) -> np.ndarray:
        decoded = schema.decode(grid.flatten(0, 1))
        return decoded.reshape(*grid.shape[:2], *decoded.shape[1:])

    def writer(
        self, path: str, schema: ImageSchema, drawing: ImageDrawing, temperature: float
    ) -> ImageWriter:
        columns = across(schema, drawing)
        label = f"temperature {temperature:g}" if temperature != 1 else ""
        under = "; ".join(part for part in (classes_line(schema, columns), label) if part)
        writer = ImageWriter(path, columns, under)
        writer.check(schema.shape[0])
        return writer

    def collect(self, schema: ImageSchema, parts: list[tuple[Any, ...]], container: str) -> Any:
        images = np.concatenate([images for images, _ in parts])
        return torch.from_numpy(images) if container == "torch" else images

    # --- what people see ------------------------------------------------------------------------

    def preview(self, dataset: Dataset) -> Iterator[Any]:
        return preview(dataset)

    def advice(self, recipe: Recipe, dataset: Dataset) -> list[str]:
        usual = self.recipe_for(dataset)
        if recipe.name in _BEHIND.get(usual, ()):
            return [f"in equal minutes {usual} comes to fewer bits/dim of such images"]
        if recipe.images:
            return []
        lines = [
            f"{recipe.name} takes images as vectors, and does not know which pixels are "
            f"neighbours; glow, realnvp and others do (caudal recipes)"
        ]
        for way, what in ((recipe.scores, "density"), (recipe.samples, "samples")):
            if way == "sequential":
                lines.append(f"{what} come pixel by pixel, which takes long where there are many")
        return lines

    def next_commands(self, folder: str, schema: ImageSchema) -> list[str]:
        shown = schema.shape[0] in (1, 3)
        denoise = " --denoise" if schema.pixel_noise else ""
        kind = "png" if shown else "npy"
        lines = [f"caudal sample {folder} -n 64{denoise} --out samples.{kind}"]
        if shown:
            lines.append(f"caudal interpolate {folder} --out manifold.png")
        return [*lines, f"caudal score {folder} --data IMAGES --out scored.csv"]

    # --- what lies between ----------------------------------------------------------------------

    def examples(self, model: Any, data: Any, reading: Any, voice: Voice) -> Examples:
        schema = model.schema
        if schema.shape[0] not in (1, 3):
            raise InputError(f"{model.name} models {schema.what}, which no picture can show")
        if data is not None:
            items = self.open_all(data, schema, reading, model.config, voice)
            for note in items.notes:
                voice.note(note)
            rows: Any = items.source
            names = list(items.names or ())
            return Examples(rows, names, class_names(schema.context, rows.context), "image")
        rows = model.dataset.test
        names = [str(i + 1) for i in range(len(rows))]
        return Examples(rows, names, self.labels(model), "test image")

    def labels(self, model: Any) -> list[Any] | None:
        rows = model.dataset.test
        labels = super().labels(model)
        if labels is None:
            labels = _test_labels(model.config)
        if labels is not None and len(labels) != len(rows):  # some were skipped: which is whose?
            return None
        return labels

    def write_manifold(self, path: Path, model: Any, grid: Any) -> None:
        x, context, _ = grid.four
        asked = (x, context, grid.n, grid.seed)
        write_figure(path, lambda: draw_manifold(model.flow, model.schema, *asked))


def _of_few_patches(recipe: Recipe, schema: ImageSchema) -> bool:
    """Whether a transformer draws images in no more steps than by its usual patches."""
    if not isinstance(recipe, TarFlow):
        return False
    _, height, width = schema.shape
    return height * width <= USUAL_TOKENS * patch_of(recipe.name, schema.shape, recipe.patch) ** 2


_SIZES = ("crop", "resize")


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _pixels(recipe: Recipe | type[Recipe], noise: float) -> str:
    """What a recipe makes of pixels; a logit has no place for what noise takes beyond the ends."""
    if noise and recipe.pixels in LOGITS:
        return "centred"
    return "logit" if getattr(recipe, "whiten", False) else recipe.pixels  # it whitens itself


def _fitting(recipe: Recipe, schema: ImageSchema) -> str:
    """White pixels, unless images are too large, or of ink and the recipe has another way."""
    if schema.countable > ZCA.most:
        return "logit"
    return recipe.ink or "white" if schema.alpha < _INK else "white"


def _embedding(schema: ImageSchema) -> Embedding | None:
    """What the labels of images become, which may be withheld in training."""
    if not schema.context:
        return None
    labels = ColumnEmbedding(schema.levels_of_context)
    return Withheld(labels, schema.drop_context) if schema.drop_context else labels


def _to_pixels(schema: ImageSchema, pixels: str) -> list[Bijection]:
    """From values in [0, levels] to what the flow takes, listed from the noise to the data."""
    to_unit = 1 / schema.levels
    if pixels == "centred":
        return [Rescale(to_unit, -0.5)]
    squash: list[Bijection] = [Logit(schema.alpha)] if pixels in LOGITS else []
    if pixels == "white":
        squash.insert(0, Flattened(ZCA(schema.countable), schema.shape))
    return [*squash, Rescale(to_unit)]


def _dequantization(schema: ImageSchema) -> PixelDequantization:
    if schema.dequantization == "uniform":
        return ImageDequantization(schema.shape, schema.levels, schema.pixel_noise)
    return variational(schema.shape, schema.levels)


def _test_labels(config: Mapping[str, Any]) -> list[Any] | None:
    """The class of each test image, if there are classes, also for a flow that takes none."""
    if not config.get("data"):
        return None
    split = config.get("split", (0.8, 0.1, 0.1))
    parts = {"valid": config.get("valid"), "test": config.get("test"), "split": split}
    return labels_of_part(config["data"], TEST, seed=config.get("split_seed", 0), **parts)
