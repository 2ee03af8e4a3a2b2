"""Images whose hidden part is drawn anew, given the rest."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from caudal.conditioning import conditional_sample
from caudal.conditioning.completion import completes, hidden_tokens
from caudal.data import Rows, hidden_pixels, open_whole
from caudal.data.images import open_labels
from caudal.errors import InputError
from caudal.modalities.contexts import Contexts
from caudal.modality import Request


@dataclass(frozen=True)
class Inpainting:
    """What there is to know of images that were completed.

    Attributes:
        image: where the images are from.
        images: how many there are.
        pixels: of an image.
        hidden: how many of them the mask hides.
        drawn: how many were drawn, in whole patches.
    """

    key: ClassVar[str] = "inpaint"

    image: str
    images: int
    pixels: int
    hidden: int
    drawn: int

    def tell(self, screen: Any) -> None:
        """Tells how much was drawn given how much."""
        screen.say(f"{self.drawn:,} of {self.pixels:,} pixels drawn given the others, exactly")
        if self.drawn > self.hidden:
            screen.note(
                f"the mask hides {self.hidden:,} pixels, and patches are drawn whole: those that "
                f"share a patch with a hidden pixel are drawn too"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


class Inpainted:
    """Draws the hidden pixels of images given the others, of all images in turn.

    Args:
        model: the one whose flow draws; it must be of any order.
        images: whose hidden part is drawn: what `open_images` takes.
        mask: what `hidden_pixels` takes.
        sizes: the crop and the resize of the run's own images.

    Raises:
        InputError: the flow has one order, or noise in the way, or the images or the mask do not
            fit it.
    """

    def __init__(self, model: Any, images: Any, mask: Any, sizes: dict[str, Any]) -> None:
        flow, schema = model.flow, model.schema
        if not completes(flow):
            raise InputError(
                f"`inpaint` is for flows of any order, which train as tarflow with `order` any, "
                f"and {model.name} is none"
            )
        for option, usual in (("pixel_noise", 0), ("dequantization", "uniform")):
            if (value := getattr(schema, option)) != usual:
                raise InputError(
                    f"`inpaint` goes with `{option}` {usual} alone, and {model.name} was trained "
                    f"with {value}"
                )
        items = open_whole(images, replace(schema, context=(), drop_context=0.0), **sizes)
        assert isinstance(items.source, Rows)
        self.flow, self.name, self.x = flow, items.name, items.source.x
        hidden = torch.from_numpy(hidden_pixels(mask, schema, **sizes))
        self.hidden = hidden.expand(schema.shape)
        self.drawn = hidden_tokens(flow, self.hidden.unsqueeze(0))[0]

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        like = self.flow.base.like
        which = (request.start + torch.arange(request.n)) % len(self.x)
        x = self.x[which].to(like)
        context = None if request.context is None else request.context.to(like)
        free = self.drawn.to(like.device).expand_as(x)
        return conditional_sample(self.flow, x, free, context, generator=generator)[0]

    def summary(self) -> Inpainting:
        _, height, width = self.hidden.shape
        hidden, drawn = (int(mask[0].sum()) for mask in (self.hidden, self.drawn))
        return Inpainting(self.name, len(self.x), height * width, hidden, drawn)


def own_labels(model: Any, images: Any, asked: Contexts) -> Tensor:
    """The contexts of images, (N, C), by their own labels where no others are asked for.

    Raises:
        InputError: an image has no such label, or one that the run does not know.
    """
    config, columns = model.config, asked.columns
    free = [columns.index(column) for column in asked.free]
    try:
        codes = open_labels(images, asked.free, config.get("labels"), config.get("metadata"))
    except InputError as error:
        names = " and ".join(column.name for column in asked.free)
        raise InputError(
            f"{model.name} is given the {names}, which `inpaint` takes from the images unless "
            f"`given` or `context_file` say it: {error}"
        ) from error
    context = torch.zeros(len(codes), len(columns))
    context[:, free] = codes
    return context
