"""All randomness of training is a function of the seed and the step: resuming needs no more."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from caudal.errors import InputError

# What the numbers are drawn for, so that no two purposes share a stream.
ORDER, STEP, VALIDATION, SAMPLE, SPLIT = range(5)


def check_seed(seed: int, flag: str = "--seed") -> None:
    """Refuses what generators of random numbers do not take.

    Raises:
        InputError: says which numbers they take.
    """
    if not -(2**63) <= seed < 2**63:
        raise InputError(f"{flag} {seed}: must be a whole number from -2^63 to 2^63 - 1")


def mix(*numbers: int) -> int:
    """One seed in [0, 2^63) from several numbers; nearby numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_all(seed: int, device: torch.device) -> None:
    """Seeds the global generators of the CPU and of one device.

    `torch.manual_seed` would do, but costs a tenth of a small training step where a machine has
    no GPU: it asks every backend.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def generator_of(seed: int, device: torch.device) -> torch.Generator:
    """A generator of its own, seeded."""
    return torch.Generator(device).manual_seed(seed)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Gives the caller's global generators back as they were."""
    devices = [] if device.type == "cpu" else [device]
    kind = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices, device_type=kind):
        yield
