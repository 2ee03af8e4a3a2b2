"""Real images as people have them, where the checkout has them beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from caudal.data import open_images, open_whole

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the checkout")


def test_mnist():
    found = open_images(DATA / "mnist", context=["class"])
    assert found.schema.size == "28x28 gray"
    assert found.schema.context[0].categories == tuple(range(10))
    assert len(found.train) + len(found.valid) == 60_000
    assert len(found.test) == 10_000
    assert len(found.valid) / 60_000 == pytest.approx(1 / 9, abs=0.005)
    assert found.train.context[:5, 0].tolist() == [5.0, 0.0, 4.0, 1.0, 9.0]
    assert found.test.context[:5, 0].tolist() == [7.0, 2.0, 1.0, 0.0, 4.0]
    assert int(found.train.x[0].sum()) == 27_525
    assert int(found.test.x[0].sum()) == 18_454
    for rows in (found.train, found.valid, found.test):
        assert rows.x.dtype == torch.uint8
        assert rows.x.untyped_storage().nbytes() == len(rows) * 784


def test_photographs():
    found = open_images(DATA / "bsds300", crop=[64], test=DATA / "bsds300" / "test")
    assert found.schema.size == "64x64 RGB"
    assert len(found.train) + len(found.valid) == 200
    assert len(found.test) == 100
    whole = open_whole(DATA / "bsds300" / "test", found.schema, crop=[64])
    rows, names = whole.source, whole.names
    assert (rows.x == found.test.x).all()
    assert names == sorted(names, key=lambda name: int(name.removesuffix(".jpg")))


def test_photographs_on_disk():
    memory, disk = (open_images(DATA / "bsds300", resize=[40, 60], memory=m) for m in (1 << 30, 0))
    for name in ("train", "valid", "test"):
        assert np.array_equal(getattr(memory, name).x, getattr(disk, name).x)
