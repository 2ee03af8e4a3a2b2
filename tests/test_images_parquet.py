"""Images in Parquet files, and of the hub, with or without its library."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.data import open_images, open_whole
from caudal.data.images import ImageSchema, finds_images
from caudal.errors import InputError
from image_files import arrays, encoded, fill, pixels, same_set

NAMES = ["dog", "cat"]  # in the order of their codes, not sorted
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NOTE = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"names": NAMES, "_type": "ClassLabel"},
        }
    }
}


def table(images, noted=True, name="image", label="label", codes=None):
    """Images as the hub keeps them, of classes 0, 1, 0, 1, ...."""
    files = [{"bytes": encoded(image), "path": None} for image in images]
    codes = [i % 2 for i in range(len(images))] if codes is None else codes
    made = pa.table({name: pa.array(files, STRUCT), label: pa.array(codes, pa.int64())})
    return made.replace_schema_metadata({"huggingface": json.dumps(NOTE)} if noted else None)


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, row_group_size=7)
    return path


def all_of(found):
    return np.concatenate([arrays(rows) for rows in (found.train, found.valid, found.test)])


def test_a_file_as_the_hub_keeps_it(tmp_path):
    path = write(tmp_path / "a.parquet", table(pixels(40)))
    assert finds_images(path)
    found = open_images(path, context=["class"])
    assert same_set(all_of(found), pixels(40))
    assert found.schema.context[0].categories == ("cat", "dog")
    whole = open_whole(path, found.schema)
    assert whole.names == [str(i) for i in range(1, 41)]
    assert (arrays(whole.source) == pixels(40)).all()
    assert whole.source.context[:4, 0].tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_encoded_images(kind, tmp_path):
    files = [encoded(image) for image in pixels(40, channels=3)]
    made = pa.table({"photo": pa.array(files, kind), "y": ["a", "b"] * 20})
    path = write(tmp_path / "a.parquet", made)
    assert finds_images(path)
    found = open_images(path, context=["class"])
    assert same_set(all_of(found), pixels(40, channels=3))
    assert found.schema.context[0].categories == ("a", "b")


def test_a_table_does_not_look_like_images(tmp_path):
    path = write(tmp_path / "a.parquet", pa.table({"a": [1.5], "b": ["x"]}))
    assert not finds_images(path)
    with pytest.raises(InputError, match="a.parquet has no column of images"):
        open_images(path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    assert not finds_images(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="b.parquet cannot be read, it may be damaged"):
        open_images(tmp_path / "b.parquet")


def test_a_folder_of_files_in_parts(tmp_path):
    images = [pixels(n, seed=n) for n in (20, 10, 6, 5)]
    for name, some in zip(
        ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test"),
        images,
        strict=True,
    ):
        write(tmp_path / "data" / f"{name}.parquet", table(some))
    found = open_images(tmp_path)
    assert (arrays(found.train) == np.concatenate(images[:2])).all()
    assert (arrays(found.valid) == images[2]).all()
    assert (arrays(found.test) == images[3]).all()


def test_a_folder_of_files_without_parts(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.parquet", table(pixels(20, seed=i)))
    images = np.concatenate([pixels(20, seed=i) for i in range(3)])
    assert same_set(all_of(open_images(tmp_path)), images)
    write(tmp_path / "train-0.parquet", table(pixels(1)))
    with pytest.raises(InputError, match=r"0.parquet: .* has files of parts, and this one is of"):
        open_images(tmp_path)


def test_columns_by_name(tmp_path):
    one, two = table(pixels(40)), table(pixels(40, seed=1), name="other")
    both = two.append_column("image", one["image"])
    found = open_images(write(tmp_path / "a.parquet", both), test=pixels(3))
    assert same_set(all_of(found)[:-3], pixels(40))
    both = both.rename_columns(["a", "label", "b"])
    with pytest.raises(InputError, match=r"several columns of images \(a, b\): call one 'image'"):
        open_images(write(tmp_path / "a.parquet", both))


def test_images_that_are_not_there(tmp_path):
    made = table(pixels(40))
    column = made["image"].to_pylist()
    column[7] = None
    column[9]["bytes"] = b"x"
    made = made.set_column(0, "image", pa.array(column, STRUCT))
    path = write(tmp_path / "a.parquet", made)
    with pytest.raises(InputError, match=r"a.parquet, image 8 is missing: it has no bytes; `cor"):
        open_images(path)
    whole = open_whole(path, ImageSchema((1, 6, 5)), corrupt="skip")
    assert whole.names == [str(i) for i in range(1, 41) if i not in (8, 10)]
    assert "skipped 2 of 40 images: " in whole.notes[0]


def test_classes_that_are_not_told(tmp_path):
    path = write(tmp_path / "a.parquet", table(pixels(40), codes=[0, -1] * 20))
    open_images(path)
    with pytest.raises(InputError, match=r"a.parquet, image 2 has no label 'class'"):
        open_images(path, context=["class"])


def test_no_rows(tmp_path):
    with pytest.raises(InputError, match="a.parquet has no rows"):
        open_images(write(tmp_path / "a.parquet", table(pixels(0))))


# --- the hub ---------------------------------------------------------------------------------


def test_the_hub_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    says = r"^hf:mnist needs the datasets library: pip install 'caudal\[hub\]'$"
    with pytest.raises(InputError, match=says):
        open_images("hf:mnist")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The real library, which is given files of this folder for any name."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    real = datasets.load_dataset
    asked = []

    def load_dataset(path, name=None):
        asked.append((path, name))
        files = {p.stem: str(p) for p in sorted((tmp_path / path).glob("*.parquet"))}
        return real("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_images_of_the_hub(hub, tmp_path):
    images = {name: pixels(n, seed=n) for name, n in (("train", 40), ("test", 6), ("extra", 3))}
    for name, some in images.items():
        write(tmp_path / "me" / "set" / f"{name}.parquet", table(some))
    found = open_images("hf:me/set:small", context=["class"])
    assert hub == [("me/set", "small")]
    assert (arrays(found.test) == images["test"]).all()
    assert found.test.context[:, 0].tolist() == [1.0, 0.0] * 3
    assert same_set(np.concatenate([arrays(found.train), arrays(found.valid)]), images["train"])
    assert found.schema.context[0].categories == ("cat", "dog")
    assert found.notes == ("passed over the splits extra of hf:me/set:small",)
    open_images("hf:me/set")
    assert hub[1] == ("me/set", None)


def test_images_of_the_hub_that_are_files(hub, tmp_path, monkeypatch):
    datasets = sys.modules["datasets"]
    folder = fill(tmp_path / "a", pixels(40))
    paths = [str(folder / f"{i}.png") for i in range(1, 41)]
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    made = datasets.DatasetDict({"train": rows})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: made)
    assert (arrays(open_whole("hf:x", ImageSchema((1, 6, 5))).source) == pixels(40)).all()


def test_what_the_hub_does_not_have(hub, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^hf:: give a name of the hub, such as hf:"):
        open_images("hf:")
    write(tmp_path / "odd" / "odd.parquet", table(pixels(3)))
    with pytest.raises(InputError, match=r"hf:odd has the splits odd: none of them is train"):
        open_images("hf:odd")
    write(tmp_path / "plain" / "train.parquet", pa.table({"a": [1, 2]}))
    with pytest.raises(InputError, match=r"hf:plain \(train\) has no column of images"):
        open_images("hf:plain")

    def none(*_):
        raise FileNotFoundError("Dataset 'x' doesn't exist\non the Hub")

    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", none)
    with pytest.raises(InputError, match=r"^hf:x cannot be had from the hub: Dataset 'x' doesn't"):
        open_images("hf:x")
