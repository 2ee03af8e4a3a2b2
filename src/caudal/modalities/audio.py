"""Sound: clips of one channel and any length."""

from typing import Any

from caudal.base import FREE, Uniform
from caudal.bijection import Bijection, Chain, parts_of
from caudal.bijections import Rescale, Standardise
from caudal.dequantization import AudioDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll_per_element
from caudal.modalities.embedding import embed_columns
from caudal.modalities.pending import Pending
from caudal.recipes import Recipe
from caudal.recipes.wavenet import AudioRecipe


class Audio(Pending):
    """Clips whose samples are whole numbers."""

    name = "audio"

    def takes(self, recipe: type[Recipe]) -> bool:
        return recipe.audio

    def loss(self) -> Any:
        return nll_per_element

    def dress(self, recipe: Recipe, schema: Any) -> Flow:
        """The recipe's flow, dressed for clips: log_prob is a mass of whole numbers, in nats.

        From the data to the noise: dequantisation, amplitudes in [-1, 1), standardisation, the
        recipe's bijection. A density on [-1, 1], such as a histogram, is not standardised.

        Raises:
            InputError: the recipe does not model sound, or has frames of another length.
        """
        if not isinstance(recipe, AudioRecipe):
            raise InputError(f"{recipe.name} does not model sound: take wavenet")
        if recipe.hop != schema.hop:
            raise InputError(f"`hop` {recipe.hop}: the data's frames are of {schema.hop} samples")
        embedding = embed_columns(schema.context, schema.mels)
        core = recipe.build((1, FREE), (embedding.n_features, FREE) if embedding else None)
        scale: list[Bijection] = [] if isinstance(core.base, Uniform) else [Standardise((1, FREE))]
        amplitudes = Rescale(1 / schema.full_scale)
        return Flow(
            Chain([*parts_of(core.bijection), *scale, amplitudes]),
            core.base,
            context_shape=(schema.n_context, FREE) if schema.n_context else None,
            embedding=embedding,
            dequantization=AudioDequantization(schema.bits),
        )
