"""Images of any source come in three parts, of one shape, as they are in the files."""

import math
import struct

import numpy as np
import pytest
import torch
from scipy.io import savemat

from caudal.data import Column, open_images, open_whole
from caudal.data.images import ImageSchema, finds_images, mat5
from caudal.errors import InputError
from image_files import arrays, fill, fill_idx, pixels, same_set, save


def parts(found):
    return found.train, found.valid, found.test


def all_of(found):
    return np.concatenate([arrays(rows) for rows in parts(found)])


# --- the sources, each with the same images --------------------------------------------------


def as_folder(path, images, labels):
    return fill(path / "photos", images, [str(label) for label in labels])


def as_array(path, images, labels):
    np.save(path / "a.npy", images)
    return path / "a.npy"


def as_channels_first(path, images, labels):
    np.save(path / "a.npy", images.transpose(0, 3, 1, 2))
    return path / "a.npy"


def as_archive(path, images, labels):
    np.savez_compressed(path / "a.npz", images=images, labels=labels)
    return path / "a.npz"


def as_array_in_python(path, images, labels):
    return torch.from_numpy(images)


SOURCES = [as_folder, as_array, as_channels_first, as_archive, as_array_in_python]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_source_gives_its_images(source, channels, tmp_path):
    images = pixels(60, channels=channels)
    found = open_images(source(tmp_path, images, np.arange(60) % 3))
    alpha = found.schema.alpha
    assert found.schema == ImageSchema((channels, 6, 5), pixels=None, alpha=alpha)
    assert same_set(all_of(found), images)
    assert [rows.x.dtype for rows in parts(found)] == [torch.uint8] * 3
    assert all(rows.context is None for rows in parts(found))
    assert found.notes == ()


def test_a_gray_array_may_lack_its_channel(tmp_path):
    images = pixels(40)
    np.save(tmp_path / "a.npy", images[..., 0])
    assert same_set(all_of(open_images(tmp_path / "a.npy")), images)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_idx_folders(packed, dot, tmp_path):
    images, more = pixels(60), pixels(9, seed=1)
    labels = (np.arange(60) % 4).astype(np.uint8)
    fill_idx(tmp_path, "train", images[..., 0], labels, packed, dot)
    found = open_images(tmp_path, context=["class"])
    assert same_set(all_of(found), images)
    fill_idx(tmp_path, "t10k", more[..., 0], labels[:9], packed, dot)
    found = open_images(tmp_path, context=["class"])
    assert (arrays(found.test) == more).all()
    assert found.test.context[:, 0].tolist() == labels[:9].tolist()
    assert same_set(np.concatenate([arrays(found.train), arrays(found.valid)]), images)


def test_an_unpacked_idx_file_wins_over_the_packed_one(tmp_path):
    images = pixels(40)
    fill_idx(tmp_path, "train", pixels(3)[..., 0], packed=True)
    fill_idx(tmp_path, "train", images[..., 0])
    assert same_set(all_of(open_images(tmp_path)), images)


def test_an_idx_file_alone_brings_the_labels_beside_it(tmp_path):
    labels = (np.arange(50) % 2).astype(np.uint8)
    fill_idx(tmp_path, "train", pixels(50)[..., 0], labels)
    found = open_images(tmp_path / "train-images-idx3-ubyte", context=["class"])
    assert found.schema.context[0].categories == (0, 1)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test"), ("train_images", "train_labels", "test_images")]
)
def test_an_archive_may_have_parts(names, tmp_path):
    images, more = pixels(40), pixels(7, seed=1)
    labels = (np.arange(40) % 2)[:, None]
    np.savez(tmp_path / "a.npz", **dict(zip(names, (images, labels, more), strict=True)))
    found = open_images(tmp_path / "a.npz")
    assert (arrays(found.test) == more).all()
    assert len(found.train) + len(found.valid) == 40


# --- parts -----------------------------------------------------------------------------------


def test_an_image_keeps_its_part_whatever_the_source(tmp_path):
    images = pixels(60)
    one = open_images(as_array(tmp_path, images, None))
    other = open_images(fill(tmp_path / "photos", images))
    for a, b in zip(parts(one), parts(other), strict=True):
        assert (a.x == b.x).all()
    changed = open_images(as_array(tmp_path, images, None), seed=1)
    assert len(changed.train) != len(one.train) or not (changed.train.x == one.train.x).all()


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_folders_of_parts(valid, tmp_path):
    images = [pixels(n, seed=n) for n in (30, 8, 5)]
    for name, some in zip(("train", valid, "test"), images, strict=True):
        fill(tmp_path / name, some, ["cat", "dog"] * 15)
    found = open_images(tmp_path, context=["class"])
    for rows, some in zip(parts(found), images, strict=True):
        assert same_set(arrays(rows), some)
    assert found.schema.context == (
        Column("class", "categorical", 0.0, 1.0, 1.0, ("cat", "dog"), dtype="string"),
    )
    assert found.train.context.dtype == torch.float32
    assert found.train.context.shape == (30, 1)


def test_other_sources_for_validation_and_test(tmp_path):
    images = [pixels(n, seed=n) for n in (30, 8, 5)]
    main = as_array(tmp_path, images[0], None)
    found = open_images(main, valid=fill(tmp_path / "v", images[1]), test=images[2])
    assert [arrays(rows).shape[0] for rows in parts(found)] == [30, 8, 5]
    assert (arrays(found.train) == images[0]).all()
    assert (arrays(found.test) == images[2]).all()


def test_files_are_in_natural_order(tmp_path):
    images = pixels(12)
    fill(tmp_path / "a", images)
    whole = open_whole(tmp_path / "a", ImageSchema((1, 6, 5)))
    assert whole.names == [f"{i}.png" for i in range(1, 13)]
    assert (arrays(whole.source) == images).all()


# --- shapes and bits -------------------------------------------------------------------------


@pytest.mark.parametrize("source", [as_folder, as_array])
def test_crop_keeps_the_centre(source, tmp_path):
    images = pixels(30, 8, 9, 3)
    found = open_images(source(tmp_path, images, [0] * 30), crop=[4, 3], test=images)
    assert found.schema.shape == (3, 4, 3)
    assert (arrays(found.test) == images[:, 2:6, 3:6]).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [(4, 4), (12, 5), (8, 10)])
def test_resize_covers_the_size(channels, size):
    images = np.full((60, 8, 10, channels), 7, np.uint8)
    found = open_images(images, resize=size)
    assert found.schema.shape == (channels, *size)
    assert (found.train.x == 7).all()


def test_resize_to_the_same_size_changes_nothing():
    images = pixels(60, 8, 8)
    assert (arrays(open_images(images, resize=[8], test=images).test) == images).all()


def test_images_of_all_sizes_become_one(tmp_path):
    for i in range(30):
        save(pixels(1, 8 + i % 3, 9 + i % 2, 3, i)[0], tmp_path / "a" / f"{i}.jpg")
    found = open_images(tmp_path / "a", resize=[4])
    assert found.schema.shape == (3, 4, 4)
    assert len(found.train) + len(found.valid) + len(found.test) == 30


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_bits_keeps_the_highest(bits):
    images = pixels(30)
    found = open_images(images, test=images, bits=bits)
    assert (arrays(found.test) == images >> (8 - bits)).all()
    assert found.schema.levels == 2**bits


def test_what_a_flow_makes_of_pixels_is_in_the_schema():
    found = open_images(pixels(30), pixels="logit", alpha=1e-6, dequantization="variational")
    schema = found.schema
    assert (schema.pixels, schema.alpha, schema.dequantization) == ("logit", 1e-6, "variational")


# --- memory ----------------------------------------------------------------------------------


def test_images_are_held_once_in_eight_bits(tmp_path):
    images = pixels(100, 28, 28)
    found = open_images(as_archive(tmp_path, images, np.arange(100) % 2), context=["class"])
    held = sum(rows.x.untyped_storage().nbytes() for rows in parts(found))
    assert held == images.nbytes


def test_an_array_that_needs_no_split_is_not_copied():
    images = pixels(30)
    found = open_images(images, valid=pixels(5), test=pixels(5))
    assert np.shares_memory(found.train.x.numpy(), images)


def test_a_mapped_file_that_needs_no_split_stays_one(tmp_path):
    path = as_array(tmp_path, pixels(30), None)
    found = open_images(path, valid=pixels(5), test=pixels(5))
    found.train.x[0] = 0  # a change stays here
    assert (np.load(path) == pixels(30)).all()


def test_arrays_that_are_turned_round_are_copied():
    images = pixels(30)[:, ::-1]
    found = open_images(images, valid=pixels(5), test=pixels(5))
    assert (arrays(found.train) == images).all()


def test_read_only_arrays_are_copied():
    images = pixels(30)
    images.flags.writeable = False
    found = open_images(images, valid=pixels(5), test=pixels(5))
    assert (arrays(found.train) == images).all()
    assert not np.shares_memory(found.train.x.numpy(), images)


def test_many_images_lie_on_disk_and_are_the_same(tmp_path, monkeypatch):
    used = []
    real = np.frombuffer
    monkeypatch.setattr(np, "frombuffer", lambda *a: used.append(1) or real(*a))
    folder = fill(tmp_path / "a", pixels(40), ["x", "y"] * 20)
    here, there = (open_images(folder, memory=m, context=["class"]) for m in (1 << 30, 100))
    assert len(used) == 3
    for a, b in zip(parts(here), parts(there), strict=True):
        assert (a.x == b.x).all()
        assert (a.context == b.context).all()
        batches = next(iter(b.shuffled(2, seed=0)))
        assert batches.x.shape == (2, 1, 6, 5)


def test_a_disk_without_room_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"GiB of images do not fit.*No space left.*TMPDIR"):
        open_images(pixels(40), memory=100)


def test_progress_is_told_of_every_image(tmp_path):
    seen = []

    def track(items, total):
        for item in items:
            seen.append(total)
            yield item

    open_images(fill(tmp_path / "a", pixels(40)), progress=track, test=pixels(5))
    assert seen == [40] * 40  # an array that is taken as it stands takes no time


# --- a finished run --------------------------------------------------------------------------


def test_a_schema_decides(tmp_path):
    schema = open_images(pixels(40), bits=5, pixels="centred").schema
    again = open_images(pixels(60, seed=1), schema=schema)
    assert again.schema is schema
    assert int(again.train.x.max()) == 31


def test_a_whole_source_by_a_schema(tmp_path):
    labels = (np.arange(20) % 3).astype(np.uint8)
    fill_idx(tmp_path, "train", pixels(60)[..., 0], (np.arange(60) % 3).astype(np.uint8))
    fill_idx(tmp_path, "t10k", pixels(20, seed=1)[..., 0], labels)
    schema = open_images(tmp_path, context=["class"]).schema
    whole = open_whole(tmp_path, schema)
    rows, names, notes = whole.source, whole.names, whole.notes
    assert len(rows) == 80
    assert names == [str(i) for i in range(1, 81)]
    assert rows.context[60:, 0].tolist() == labels.tolist()
    assert notes == ()


def test_classes_of_a_run_are_found_by_their_names(tmp_path):
    schema = open_images(
        as_archive(tmp_path, pixels(40), np.arange(40) % 3 + 7), context=["class"]
    ).schema
    folder = fill(tmp_path / "a", pixels(2), ["9", "7"])
    whole = open_whole(folder, schema)
    assert whole.names == ["7/2.png", "9/1.png"]
    assert whole.source.context.tolist() == [[0.0], [2.0]]


def test_one_file_is_a_source(tmp_path):
    save(pixels(1)[0], tmp_path / "a.png")
    whole = open_whole(tmp_path / "a.png", ImageSchema((1, 6, 5)))
    rows, names = whole.source, whole.names
    assert (arrays(rows) == pixels(1)).all()
    assert names == [str(tmp_path / "a.png")]


def test_gray_files_are_taken_by_a_run_of_colours(tmp_path):
    folder = fill(tmp_path / "a", pixels(3))
    rows = open_whole(folder, ImageSchema((3, 6, 5))).source
    assert (arrays(rows) == pixels(3).repeat(3, axis=3)).all()


# --- what looks like images ------------------------------------------------------------------


def test_what_looks_like_images(tmp_path):
    np.save(tmp_path / "a.npy", pixels(3))
    np.save(tmp_path / "table.npy", np.zeros((3, 4)))
    np.savez(tmp_path / "a.npz", images=pixels(3), labels=np.arange(3))
    np.savez(tmp_path / "table.npz", x=np.zeros((3, 4)))
    (tmp_path / "broken.npz").write_bytes(b"x")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    save(pixels(1)[0], tmp_path / "a.PNG")
    yes = ["a.npy", "a.npz", "a.PNG", "train-images-idx3-ubyte.gz", "."]
    no = ["table.npy", "table.npz", "t.csv", "broken.npz", "empty.npy", "missing.npz"]
    assert [name for name in [*yes, *no] if finds_images(str(tmp_path / name))] == yes
    assert finds_images("hf:mnist")
    assert finds_images(torch.zeros(3, 4, 4))
    assert not finds_images(np.zeros((3, 4)))
    assert not finds_images("digits")
    assert not finds_images({"a": 1})


def test_the_built_in_digits_are_images_of_four_bits():
    found = open_images("digits", context=("class",))
    assert found.schema.shape == (1, 8, 8)
    assert found.schema.bits == 4
    assert found.train.x.max() == 15
    assert len(found.train) + len(found.valid) + len(found.test) == 1797
    assert found.schema.context[0].categories == tuple(range(10))


# --- MATLAB ----------------------------------------------------------------------------------


def test_matlab_files_as_svhn_has_them(tmp_path):
    colour, labels = pixels(12, 8, 8, 3), (np.arange(12) % 10 + 1).astype(np.uint8)
    for name, images in {"train": colour, "test": colour[:5]}.items():
        held = {"X": images.transpose(1, 2, 3, 0), "y": labels[: len(images), None]}
        savemat(tmp_path / f"{name}_8x8.mat", held)
    found = open_images(tmp_path, context=["class"])
    assert (arrays(found.test) == colour[:5]).all()
    assert found.test.context[:, 0].tolist() == [0, 1, 2, 3, 4]  # of the classes 1 to 10
    assert found.schema.context[0].categories == tuple(range(1, 11))
    assert finds_images(tmp_path / "test_8x8.mat")


def test_a_matlab_file_as_the_toronto_faces_are(tmp_path):
    images, labels = pixels(20, 6, 6)[..., 0], np.where(np.arange(20) % 3, 4, -1)
    savemat(
        tmp_path / "faces.mat", {"images": images, "labs_ex": labels, "folds": np.ones((20, 5))}
    )
    found = open_images(tmp_path / "faces.mat", context=["class"])
    assert same_set(all_of(found), images[..., None])
    assert found.schema.context[0].categories == (-1, 4)


def test_what_is_wrong_with_a_matlab_file(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.zeros((3, 4))})
    assert not finds_images(path)
    with pytest.raises(InputError, match=r"should hold one array of images, and holds x \(3, 4\)"):
        open_images(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(500))
    with pytest.raises(InputError, match="which is HDF5"):
        open_images(path)
    path.write_bytes(b"no" * 300)
    with pytest.raises(InputError, match="a.mat"):
        open_images(path)
    for name in ("train_1", "train_2"):
        savemat(tmp_path / f"{name}.mat", {"x": pixels(3)})
    path.unlink()
    with pytest.raises(InputError, match="several files of one part"):
        open_images(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_matlab_files_are_those_of_scipy(packed, tmp_path):
    draw = np.random.default_rng(0)
    held = {
        "images": draw.integers(0, 255, (3, 4, 5), np.uint8),
        "small": np.array([[7]], np.int16),
        "doubles": draw.normal(size=(2, 3)),
        "words": "text",
        "complex": np.ones((2, 2)) * 1j,
        "cells": np.array([1, "a"], object),
    }
    savemat(tmp_path / "a.mat", held, do_compression=packed)
    found = mat5.arrays_in(tmp_path / "a.mat")
    assert found.keys() == {"images", "small", "doubles"}
    for name, values in found.items():
        assert values.dtype == held[name].dtype
        assert (values == held[name]).all()
    assert mat5.shapes_in(tmp_path / "a.mat")["images"] == (3, 4, 5)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_matlab_file_is_one_line(packed, tmp_path):
    """scipy's reader ends the process at some of these."""
    path = tmp_path / "a.mat"
    savemat(path, {"x": pixels(3, 4, 4)}, do_compression=packed)
    whole, refused = path.read_bytes(), 0
    for at in range(100, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            mat5.arrays_in(path)
        except mat5.DamagedError:
            refused += 1
    assert refused > 40
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"a.mat is damaged, or no file of MATLAB 5 to 7.2"):
        open_images(path)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matlab_file(path, class_of, *rest):
    """A file of one variable of this class, by the elements after its flags."""
    array = element(6, struct.pack("<II", class_of, 0)) + b"".join(rest)
    path.write_bytes(bytes(124) + b"\x00\x01IM" + element(14, array))


@pytest.mark.parametrize("shape", [(2**31 - 1,) * 3 + (0,), (1,) * 70])
def test_a_matlab_array_of_a_shape_that_numpy_has_not_is_one_line(shape, tmp_path):
    values = element(2, bytes(math.prod(shape)))
    sizes = struct.pack(f"<{len(shape)}i", *shape)
    matlab_file(tmp_path / "a.mat", 9, element(5, sizes), element(1, b"x"), values)
    with pytest.raises(InputError, match="a.mat is damaged"):
        open_images(tmp_path / "a.mat")


def test_objects_in_a_matlab_file_are_no_damage(tmp_path):
    names = [element(1, name) for name in (b"when", b"MCOS", b"datetime")]
    matlab_file(tmp_path / "a.mat", 17, *names)
    assert mat5.shapes_in(tmp_path / "a.mat") == {}
    with pytest.raises(InputError, match="and holds no array of numbers"):
        open_images(tmp_path / "a.mat")


def test_labels_of_matlab_beside_pictures_are_passed_over(tmp_path):
    fill(tmp_path, pixels(6), list("ababab"))
    savemat(tmp_path / "imagelabels.mat", {"labels": np.arange(6)})
    found = open_images(tmp_path)
    assert len(all_of(found)) == 6
    assert "passed over" in found.notes[0]


def test_the_number_of_labels_says_which_dimension_of_a_matlab_array_is_that_of_images(tmp_path):
    images = pixels(9, 6, 5)[..., 0]
    held = {"x": np.moveaxis(images, 0, -1), "y": np.arange(9)}
    savemat(tmp_path / "a.mat", held)
    assert same_set(all_of(open_images(tmp_path / "a.mat")), images[..., None])


def test_a_matlab_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"x": np.zeros((3000, 20, 20), np.uint8)}, do_compression=True)
    monkeypatch.setenv("CAUDAL_UNPACKED", "0.001")
    with pytest.raises(InputError, match="when it is unpacked"):
        open_images(tmp_path / "a.mat")
