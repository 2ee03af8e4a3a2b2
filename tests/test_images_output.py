"""Samples go back to files, which read back as what was written."""

import numpy as np
import pytest
from PIL import Image

from caudal.data import ImageWriter, open_images, open_whole, write_grid
from caudal.data.images import ImageSchema
from caudal.errors import InputError
from image_files import arrays, pixels


def written(path, images, classes=None):
    lots = np.split(images, range(7, len(images), 7)) if isinstance(images, np.ndarray) else images
    with ImageWriter(path) as writer:
        for index, lot in enumerate(lots):
            writer.write(lot, classes and classes[7 * index : 7 * index + 7])
    return path


def failing():
    yield pixels(3)
    raise ZeroDivisionError


def left(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", ["out", "out.npy", "out.npz"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_reads_back(name, channels, tmp_path):
    images = pixels(20, channels=channels)
    path = written(tmp_path / "new" / name, images)
    assert (arrays(open_whole(path, ImageSchema((channels, 6, 5))).source) == images).all()
    assert left(tmp_path / "new") == [name]


@pytest.mark.parametrize("name", ["out", "out.npz"])
@pytest.mark.parametrize("classes", [["cat", "dog"] * 20, [3, 5] * 20])
def test_classes_read_back(name, classes, tmp_path):
    path = written(tmp_path / name, pixels(40), classes)
    schema = open_images(path, context=["class"]).schema
    whole = open_whole(path, schema)
    order = np.argsort(classes, kind="stable") if name == "out" else np.arange(40)
    assert (arrays(whole.source) == pixels(40)[order]).all()
    assert whole.source.context[:, 0].tolist() == [float(i % 2) for i in order]


def test_samples_of_few_bits_read_back(tmp_path):
    images = pixels(30)
    found = open_images(images, test=images, bits=3)
    path = written(tmp_path / "out", found.schema.decode(found.test.x))
    assert (open_whole(path, found.schema).source.x == found.test.x).all()


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert left(written(tmp_path / "out", pixels(3))) == ["000001.png", "000002.png", "000003.png"]


def test_names_of_classes_stay_within_the_folder(tmp_path):
    written(tmp_path / "out", pixels(3), ["../a/b", "", ".x"])
    assert left(tmp_path) == ["out"]
    assert left(tmp_path / "out") == ["_", "_.._a_b", "_.x"]


# --- one sheet -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_shows_all(suffix, channels, tmp_path):
    path = written(tmp_path / f"out{suffix}", pixels(16, 10, 10, channels))
    with Image.open(path) as sheet:
        assert sheet.mode == {1: "L", 3: "RGB"}[channels] or suffix == ".webp"
        assert 700 < sheet.width <= 960
        assert sheet.width == sheet.height


def test_a_sheet_is_row_by_row_with_paper_between(tmp_path):
    images = pixels(5, 400, 400)
    write_grid(tmp_path / "a.png", images, across=3)
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (2 * 402 + 2, 3 * 402 + 2)
    assert (sheet[2:402, 404:804] == images[1, :, :, 0]).all()
    assert (sheet[404:804, 2:402] == images[3, :, :, 0]).all()
    assert (sheet[:2] == 255).all()
    assert (sheet[404:, 804:] == 255).all()


def test_little_images_are_magnified_without_blur(tmp_path):
    images = pixels(4, 5, 5)
    write_grid(tmp_path / "a.png", images, across=2)
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    times = (sheet.shape[1] - 6) // 10
    assert (sheet[2 : 2 + 5 * times : times, 2 : 2 + 5 * times : times] == images[0, ..., 0]).all()
    assert set(np.unique(sheet)) <= {*np.unique(images).tolist(), 255}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_label_stands_under_the_sheet(channels, tmp_path):
    images = np.full((4, 300, 300, channels), 255, np.uint8)
    write_grid(tmp_path / "plain.png", images)
    write_grid(tmp_path / "said.png", images, label="temperature 0.7")
    with Image.open(tmp_path / "plain.png") as a, Image.open(tmp_path / "said.png") as b:
        assert b.width == a.width
        assert b.height == a.height + 36
        assert np.asarray(b)[: a.height].min() == 255
        assert np.asarray(b)[a.height :].min() < 50


# --- refusals, and nothing left behind -------------------------------------------------------


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    for name, says in {
        "a.gif": r"cannot write '.gif' files; known are .png .jpg",
        "a.csv": r"cannot write '.csv' files",
        "folder.png": r"folder.png is a folder: give another name",
        "full": r"full is there already: images go to a new folder, or an empty one",
        "file": r"file is there already",
    }.items():
        with pytest.raises(InputError, match=says) as caught:
            ImageWriter(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["out.png", "out"])
def test_channels_that_no_picture_has(name, tmp_path):
    writer = ImageWriter(tmp_path / name)
    with pytest.raises(InputError, match=r"images of 2 channels are no picture.*: write .npz or"):
        writer.check(2)
    with pytest.raises(InputError, match="2 channels"), writer:
        writer.write(pixels(3, channels=2))
    assert left(tmp_path) == []


def test_arrays_hold_any_channels(tmp_path):
    path = written(tmp_path / "a.npz", pixels(20, channels=2))
    assert (
        arrays(open_whole(path, ImageSchema((2, 6, 5))).source) == pixels(20, channels=2)
    ).all()


@pytest.mark.parametrize("name", ["out", "out.png", "out.npy", "out.npz"])
def test_a_failure_leaves_nothing(name, tmp_path):
    with pytest.raises(ZeroDivisionError):
        written(tmp_path / name, failing())
    with pytest.raises(InputError, match="there are no images to write"):
        written(tmp_path / name, [])
    with pytest.raises(InputError, match="images of one file must have one shape"):
        written(tmp_path / name, [pixels(3), pixels(3, 9, 9)])
    assert left(tmp_path) == []


def test_a_system_that_will_not_write_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file/out: .*; choose another place"):
        written(tmp_path / "file" / "out", pixels(3))


def test_grids_refuse_what_they_cannot_show(tmp_path):
    for images, name, says in (
        (pixels(0), "a.png", "there are no images to write"),
        (pixels(2, channels=4), "a.png", "images of 4 channels are no picture"),
        (pixels(2), "a.pdf", "cannot write '.pdf' pictures; known are .png"),
    ):
        with pytest.raises(InputError, match=says):
            write_grid(tmp_path / name, images)


def test_writing_needs_its_block(tmp_path):
    with pytest.raises(RuntimeError, match="inside the with-block"):
        ImageWriter(tmp_path / "a.png").write(pixels(1))
