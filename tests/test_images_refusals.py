"""Images that cannot be used end in one line that says what, where and what to do."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.data import open_data, open_images, open_whole
from caudal.data.images import ImageSchema
from caudal.errors import InputError
from image_files import encoded, fill, fill_idx, idx, pixels, save

GRAY = pixels(40)
TRAIN = idx(GRAY[..., 0])
LABELS = idx(np.zeros(39, np.uint8))
PNG = encoded(pixels(1)[0])


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# what is written into a folder and then opened, and what the message says
SOURCES = {
    "nothing": (lambda t: t / "none", r"no file .*none"),
    "an empty folder": (lambda t: t, r"holds no images: .png .* are looked for"),
    "a name": (lambda t: "photos", r"no file and no built-in data 'photos'"),
    "a suffix": (
        lambda t: written(t / "a.xyz", b""),
        r"a.xyz: unknown kind of file '.xyz'; images",
    ),
    "a table": (lambda t: {"a": 1}, r"a dict is no images: give a folder"),
    # idx
    "cut gzip": (
        lambda t: written(t / "train-images-idx3-ubyte.gz", gzip.compress(TRAIN)[:-40]),
        r"train-images-idx3-ubyte.gz cannot be read, it may be damaged or cut short",
    ),
    "no gzip": (lambda t: written(t / "train-images-idx3-ubyte.gz", TRAIN), r"damaged or cut sh"),
    "cut": (
        lambda t: written(t / "train-images-idx3-ubyte", TRAIN[:-1]),
        r"train-images-idx3-ubyte is cut short: its header says 40x6x5, which is 1200 bytes",
    ),
    "cut within gzip": (
        lambda t: written(t / "train-images-idx3-ubyte.gz", gzip.compress(TRAIN[:-1])),
        r"ubyte.gz is cut short: its header says 40x6x5",
    ),
    "too long": (
        lambda t: written(t / "train-images-idx3-ubyte", TRAIN + b"x"),
        r"is too long: its header says",
    ),
    "too long within gzip": (
        lambda t: written(t / "train-images-idx3-ubyte.gz", gzip.compress(TRAIN + b"x")),
        r"is too long: its header says",
    ),
    "cut header": (
        lambda t: written(t / "train-images-idx3-ubyte", TRAIN[:9]),
        r"cut short: it ends within its header",
    ),
    "empty idx": (lambda t: written(t / "train-images-idx3-ubyte", b""), r"starts with nothing"),
    "labels for images": (
        lambda t: written(t / "train-images-idx3-ubyte", LABELS),
        r"is no IDX file of images: it starts with 00 00 08 01, not 00 00 08 03",
    ),
    "wide idx": (
        lambda t: written(t / "train-images-idx3-ubyte", b"\0\0\x0d" + TRAIN[3:]),
        r"holds values of IDX type 0x0d: only 8-bit",
    ),
    "no idx images": (
        lambda t: written(t / "train-images-idx3-ubyte", idx(GRAY[:0, ..., 0])),
        r"is empty: its header says 0x6x5",
    ),
    "label count": (
        lambda t: fill_idx(t, "train", GRAY[..., 0], np.zeros(39, np.uint8)),
        r"labels-idx1-ubyte has 39 labels for 40 images of .*train-images-idx3-ubyte",
    ),
    "several idx sets": (
        lambda t: [fill_idx(t, f"{n}-train", GRAY[..., 0]) for n in ("a", "b")][0],
        r"several sets, a-train-images-idx3-ubyte and b-train-images-idx3-ubyte: give each",
    ),
    "only test": (lambda t: fill_idx(t, "t10k", GRAY[..., 0]), r"has no training images"),
    # arrays
    "floats": (
        lambda t: npz(t / "a.npz", x=GRAY / 255),
        r"a.npz holds values of type float64: .* uint8, such as \(x \* 255\).round\(\).astype",
    ),
    "integers": (
        lambda t: GRAY.astype(np.int64),
        r"array holds values of type int64: .* such as x.astype\('uint8'\)",
    ),
    "a matrix": (lambda t: GRAY[:, 0, :, 0], r"array of shape \(40, 5\): images are"),
    "channels": (lambda t: pixels(9, 8, 8, 7), r"array of shape \(9, 8, 8, 7\): images are"),
    "no array images": (lambda t: GRAY[:0], r"array has no images: its shape is \(0, 6, 5, 1\)"),
    "no arrays of images": (
        lambda t: npz(t / "a.npz", x=np.zeros((3, 4)), y=np.zeros(3)),
        r"has no array of images among x \(3, 4\), y \(3,\): give",
    ),
    "two arrays": (
        lambda t: npz(t / "a.npz", a=GRAY, b=GRAY),
        r"several arrays of images \(a \(40, 6, 5, 1\), b .*\): keep one, or one for each part",
    ),
    "few labels": (
        lambda t: npz(t / "a.npz", x=GRAY, y=np.zeros(3, int)),
        r"a.npz holds 40 images and 3 labels",
    ),
    "odd labels": (
        lambda t: npz(t / "a.npz", x=GRAY, labels=np.zeros((40, 10))),
        r"labels of shape \(40, 10\) and type float64: give one whole number or text",
    ),
    "broken npz": (lambda t: written(t / "a.npz", b"PK x"), r"a.npz cannot be read, it may be"),
    "empty npy": (lambda t: written(t / "a.npy", b""), r"a.npy cannot be read, it may be"),
    "cut npy": (
        lambda t: written(npy := t / "a.npy", (np.save(npy, GRAY), npy.read_bytes()[:-9])[1]),
        r"a.npy cannot be read, it may be",
    ),
    # folders
    "a broken file": (
        lambda t: [fill(t, GRAY), written(t / "7.png", PNG[:60])][0],
        r"/7.png cannot be read as an image: .*; `corrupt=.skip.` leaves it out",
    ),
    "no image at all": (
        lambda t: [fill(t, GRAY), written(t / "7.jpg", b"hello")][0],
        r"/7.jpg cannot be read as an image: it is none of PNG, JPEG, WEBP, BMP; `corrupt",
    ),
    "sizes": (
        lambda t: [fill(t, GRAY), save(pixels(1, 7, 9)[0], t / "7.png")][0],
        r"/7.png is 7x9 gray, others are 6x5 gray: give `resize` 6 5, or `crop` 6 5; `corrupt",
    ),
    "a smaller size": (
        lambda t: [fill(t, GRAY), save(pixels(1, 3, 9)[0], t / "7.png")][0],
        r"/7.png is 3x9 gray, others are 6x5 gray: give `resize` 6 5; `corrupt",
    ),
    "colours": (
        lambda t: [fill(t, GRAY), save(pixels(1, channels=3)[0], t / "7.png")][0],
        r"/7.png is 6x5 RGB, others are 6x5 gray: convert the images to gray first",
    ),
    "outside of parts": (
        lambda t: [fill(t / "train", GRAY), fill(t / "more", GRAY[:2])][0].parent,
        r"has folders of parts, and more/1.png beside them: move it into one of them",
    ),
    "few": (
        lambda t: fill(t, GRAY[:1]),
        r"has too few images, 1, which leaves none for .*: give more",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_refused_in_one_line(source, tmp_path):
    make, says = SOURCES[source]
    data = make(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        open_images(data)
    assert "\n" not in str(caught.value)


OPTIONS = {
    "crop": ({"crop": [7]}, r"array, image 1 is 6x5, smaller than `crop` 7"),
    "crop numbers": ({"crop": [1, 2, 3]}, r"`crop` 1 2 3: give one size, or height and width"),
    "resize numbers": ({"resize": [0]}, r"`resize` 0: give one size"),
    "resize huge": ({"resize": [1_000_000]}, r"`resize` 1000000 1000000: at most 16,777,216 pix"),
    "bits": ({"bits": 9}, r"`bits` 9: must be from 1 to 8"),
    "split": ({"split": (1, 1, 1)}, r"`split` 1 1 1"),
    "corrupt": ({"corrupt": "drop"}, r"`corrupt` drop: choose one of refuse, skip"),
    "context": (
        {"context": ["age"]},
        r"`context` age: array has no such label; there are none \('class' comes",
    ),
    "context twice": ({"context": ["class"] * 2}, r"`context`: 'class' is named twice"),
    "no classes": (
        {"context": ["class"]},
        r"`context` class: array has no such label.* comes with sub-folders",
    ),
    "valid": ({"valid": "none"}, r"no file and no built-in data 'none'"),
    "other valid": ({"valid": pixels(3, 9, 9)}, r"array, image 1 is 9x9 gray, others are 6x5"),
    "run": ({"schema": ImageSchema((3, 32, 32))}, r"array is 6x5 gray, the run models 32x32 RGB"),
    "run size": (
        {"schema": ImageSchema((1, 32, 32))},
        r"array is 6x5 gray, the run models 32x32 gray: give `resize` 32$",
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_refused_in_one_line(option):
    options, says = OPTIONS[option]
    with pytest.raises(InputError, match=says) as caught:
        open_images(GRAY, **options)
    assert "\n" not in str(caught.value)


def test_classes_that_make_no_context(tmp_path):
    with pytest.raises(
        InputError, match=r"`context` class: each training image has 'x': go without it"
    ):
        open_images(fill(tmp_path / "a", GRAY, ["x"] * 40), context=["class"])
    save(GRAY[0], tmp_path / "a" / "odd.png")
    with pytest.raises(InputError, match=r"a/odd.png has no label 'class'; give"):
        open_images(tmp_path / "a", context=["class"])
    archive = npz(tmp_path / "a.npz", x=pixels(2000, 2, 2), y=np.arange(2000))
    with pytest.raises(
        InputError, match=r"2000 different values, at most 1000 can be conditioned on"
    ):
        open_images(archive, context=["class"])


def test_classes_that_a_run_does_not_know(tmp_path):
    folder = fill(tmp_path / "a", GRAY, ["cat", "dog"] * 20)
    schema = open_images(folder, context=["class"]).schema
    other = fill(tmp_path / "b", GRAY, ["cat", "dogs"] * 20)
    says = (
        r"b/dogs/2.png has the class 'dogs', which is in no training image; did you mean 'dog'\?"
    )
    with pytest.raises(InputError, match=says):
        open_whole(other, schema)
    with pytest.raises(InputError, match=r"array has no such label"):
        open_whole(GRAY, schema)
    with pytest.raises(InputError, match=r"array has no such label"):
        open_images(GRAY, schema=schema)


# --- skipping --------------------------------------------------------------------------------


def test_skipped_images_are_counted_and_the_first_is_named(tmp_path):
    folder = fill(tmp_path / "a", GRAY)
    written(folder / "1.png", PNG[:50])
    save(pixels(1, 9, 9)[0], folder / "9.png")
    found = open_images(folder, corrupt="skip")
    assert len(found.train) + len(found.valid) + len(found.test) == 38
    assert len(found.notes) == 1
    assert found.notes[0].startswith("skipped 2 of 40 images: ")
    assert "a/1.png cannot be read" in found.notes[0]
    whole = open_whole(folder, found.schema, corrupt="skip")
    assert whole.names == [f"{i}.png" for i in range(1, 41) if i not in (1, 9)]
    assert whole.notes == found.notes


def test_skipped_images_leave_the_parts_of_others_alone(tmp_path):
    images = open_images(fill(tmp_path / "a", GRAY))
    gone = int(np.flatnonzero([(g == images.test.x[0, 0].numpy()).all() for g in GRAY[..., 0]])[0])
    written(tmp_path / "a" / f"{gone + 1}.png", b"")
    again = open_images(tmp_path / "a", corrupt="skip")
    assert (again.train.x == images.train.x).all()
    assert (again.test.x == images.test.x[1:]).all()


def test_nothing_left_is_refused(tmp_path):
    folder = fill(tmp_path / "a", GRAY)
    for i in range(1, 41):
        written(folder / f"{i}.png", b"")
    with pytest.raises(InputError, match=r"no image of .*a can be used; the first: .*1.png"):
        open_images(folder, corrupt="skip")


def test_a_part_of_which_nothing_is_left(tmp_path):
    says = r"too few images, 44, .* validation: .*; skipped 3 of 3 images: array, image 1"
    with pytest.raises(InputError, match=says):
        open_images(GRAY, valid=pixels(3, 9, 9), test=GRAY[:4], corrupt="skip")


def test_other_files_are_passed_over(tmp_path):
    folder = fill(tmp_path / "a", GRAY)
    written(folder / "readme.txt", b"x")
    written(folder / ".hidden.png", b"x")
    written(folder / "__MACOSX" / "1.png", b"x")
    assert open_images(folder).notes == (
        f"passed over files of other kinds in {folder}: readme.txt",
    )


# --- images where a table should be ----------------------------------------------------------


def test_tables_say_that_images_are_opened_elsewhere(tmp_path):
    fill(tmp_path / "a", GRAY[:2])
    np.save(tmp_path / "a.npy", GRAY)
    pq.write_table(pa.table({"image": [PNG]}), tmp_path / "a.parquet")
    for data in (tmp_path / "a", tmp_path / "a.npy", GRAY):
        with pytest.raises(InputError, match="open it with open_images if it holds images"):
            open_data(data)
