"""What `caudal train` says of images before it trains: their size, classes and parts."""

import torch

from caudal.cli.preview import show_parts
from caudal.cli.screen import Screen
from caudal.data import Dataset

MOST = 20  # classes told one by one
PIXELS = {"unit": "x", "centred": "x - 1/2"}


def show_data(screen: Screen, data: Dataset) -> None:
    """What the images are, how many of each class there are, and how many in each part."""
    schema = data.schema
    logit = f"logit({schema.alpha:g} + {1 - 2 * schema.alpha:g} x)"
    screen.say(f"\n{data.name}")
    screen.say(
        f"{schema.size} images, {schema.bits} bits a pixel; pixels x in [0, 1] as "
        f"{PIXELS.get(schema.pixels, logit)}, {schema.dequantization} noise between their values"
    )
    for line in _classes(data):
        screen.say(line)
    show_parts(screen, data, "images")


def _classes(data: Dataset) -> list[str]:
    """Of conditional flows, the classes with the number of training images of each."""
    context = data.train.context
    if context is None:
        return []
    names = data.schema.context[0].categories or ()
    counts = torch.bincount(context[:, 0].long(), minlength=len(names)).tolist()
    told = [f"{name} {count:,}" for name, count in zip(names[:MOST], counts, strict=False)]
    more = f", ... and {len(names) - MOST} more" if len(names) > MOST else ""
    return [f"given the class, of {len(names)}: {', '.join(told)}{more}"]
