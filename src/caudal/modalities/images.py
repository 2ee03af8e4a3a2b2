"""Images: pixels of whole numbers, all of one shape."""

from typing import Any

from caudal.bijection import Bijection, Chain
from caudal.bijections import Flattened, Logit, Rescale, Standardise
from caudal.dequantization import ImageDequantization, PixelDequantization
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.embedding import embed_columns
from caudal.modalities.pending import Pending
from caudal.recipes import Recipe
from caudal.recipes.variational import variational


class Images(Pending):
    """Images of one shape, whose pixels are whole numbers."""

    name = "images"

    def takes(self, recipe: type[Recipe]) -> bool:
        return recipe.images or recipe.vectors

    def loss(self) -> Any:
        return nll

    def dress(self, recipe: Recipe, schema: Any) -> Flow:
        """The recipe's flow, dressed for images: log_prob is a mass of whole numbers, in nats.

        From the data to the noise: dequantisation, pixel values scaled as the flow takes them
        (`schema.pixels`), the recipe's bijection, which sees vectors if it does not know images.
        """
        shape = schema.shape
        embedding = embed_columns(schema.context)
        context = (embedding.n_features,) if embedding else None
        if recipe.images:
            core = recipe.build(shape, context)
            bijection, base = core.bijection, core.base
        else:
            features = (schema.countable,)
            core = recipe.build(features, context)
            # Pixels that hardly vary start with the noise's deviation; without this, NICE takes
            # hours to get there.
            inner = Chain([core.bijection, Standardise(features)])
            bijection = Flattened(inner, shape)
            base = type(core.base)(shape)
        return Flow(
            Chain([bijection, *_pixels(schema)]),
            base,
            context_shape=(len(schema.context),) if schema.context else None,
            embedding=embedding,
            dequantization=_dequantization(schema),
        )


def _pixels(schema: Any) -> list[Bijection]:
    """The maps between values in [0, levels] and what the flow takes, from noise to data."""
    to_unit = 1 / schema.levels
    if schema.pixels == "centred":
        return [Rescale(to_unit, -0.5)]
    squash: list[Bijection] = [Logit(schema.alpha)] if schema.pixels == "logit" else []
    return [*squash, Rescale(to_unit)]


def _dequantization(schema: Any) -> PixelDequantization:
    if schema.dequantization == "uniform":
        return ImageDequantization(schema.shape, schema.levels)
    return variational(schema.shape, schema.levels)
