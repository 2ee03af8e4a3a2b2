"""Small flows and data sets of images, for tests."""

import math

import torch

from caudal.base import Base
from caudal.bijection import Chain
from caudal.bijections import Rescale
from caudal.data import Column, Dataset, ImageSchema
from caudal.data.source import Rows
from caudal.dequantization import ImageDequantization
from caudal.flow import Flow
from caudal.modality import assemble
from caudal.recipes import Glow

TINY = Glow(scales=1, layers=1, maps=4)


class Uniform(Base):
    """Every element uniform over [low, high]."""

    def __init__(self, event_shape, low=0.0, high=1.0):
        super().__init__(event_shape)
        self.low, self.high = low, high

    def log_prob(self, z):
        inside = ((z >= self.low) & (z <= self.high)).flatten(1).all(1)
        elements = math.prod(self.event_shape)
        return torch.where(inside, -elements * math.log(self.high - self.low), -torch.inf).to(z)

    def sample(self, n, generator=None):
        like = {"dtype": self.like.dtype, "device": self.like.device}
        u = torch.rand(n, *self.event_shape, generator=generator, **like)
        return self.low + (self.high - self.low) * u


def uniform_flow(schema, low=0.0, high=1.0):
    """Every image is as likely as any other."""
    factor = (high - low) / schema.levels
    return Flow(
        Chain([Rescale(factor, low)]),
        Uniform(schema.shape, low, high),
        dequantization=ImageDequantization(schema.shape, schema.levels),
    )


def schema_of(shape=(1, 8, 8), classes=0, **fields):
    """A schema, given a class if there are any."""
    names = tuple(f"class {i}" for i in range(classes))
    context = Column("label", "categorical", 0, classes - 1, 1, names) if classes else None
    return ImageSchema(shape, context=(context,) if context else (), **fields)


def rows_of(schema, n=40, seed=0):
    """Blobs of light, of which those of one class lie alike."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = schema.shape
    code = torch.arange(n) % max(1, len(schema.context[0].categories) if schema.context else 1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middle = torch.rand(n, 2, generator=generator) * torch.tensor([height, width]) + code[:, None]
    square = (y - middle[:, 0, None, None]) ** 2 + (x - middle[:, 1, None, None]) ** 2
    light = (schema.levels - 1) * (-square / 8).exp().unsqueeze(1)
    tint = torch.rand(n, channels, 1, 1, generator=generator)
    context = code.float().unsqueeze(1) if schema.context else None
    return Rows((light * tint).round().to(torch.uint8), context)


def dataset_of(schema):
    """Three parts of such rows."""
    parts = (rows_of(schema, n, seed) for seed, n in enumerate((60, 20, 40)))
    return Dataset("blobs", schema, *parts, notes=("blobs of light",))


def tiny_flow(schema, seed=0):
    """A small Glow that is not the identity."""
    torch.manual_seed(seed)
    flow = assemble(TINY, schema).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return flow
