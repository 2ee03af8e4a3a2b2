"""All randomness of training is a function of the seed and the step, so a run can be resumed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch

from caudal.errors import InputError

# Purposes of random numbers: no two of them share a stream.
ORDER, STEP, VALIDATION, SAMPLE, SPLIT = range(5)
POOL, HELD_OUT = 10, 11  # samples of a teacher, to learn from and to validate on


def check_seed(seed: int) -> None:
    """Refuses seeds that generators of random numbers do not accept.

    Raises:
        InputError: names the range of seeds.
    """
    is_number = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not is_number or not -(2**63) <= seed < 2**63:
        raise InputError(f"`seed` {seed}: must be a whole number from -2^63 to 2^63 - 1")


def mix(*numbers: int) -> int:
    """One seed in [0, 2^63) from several numbers; nearby numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_of(seed: int, device: torch.device) -> torch.Generator:
    """A new seeded generator."""
    return torch.Generator(device).manual_seed(seed)


def seed_global(seed: int, device: torch.device) -> None:
    """Seeds the global generators of the CPU and of one device, which compiled code draws from.

    `torch.manual_seed` would do the same, but it asks every backend, which costs a tenth of a
    small training step on a machine without a GPU.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


@contextmanager
def global_kept(device: torch.device) -> Iterator[None]:
    """Within, global generators may be seeded and used; after, they are as they were before."""
    devices = [] if device.type == "cpu" else [device]
    kind = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng(devices, device_type=kind):
        yield
