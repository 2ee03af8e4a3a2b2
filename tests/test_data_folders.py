"""What images and audio share: files of a folder, links, patterns, labels."""

import numpy as np
import pytest
import torch

import audio_files
import image_files
from caudal.data import (
    AudioSchema,
    Column,
    ImageSchema,
    open_audio,
    open_clips,
    open_images,
    open_whole,
    schema_from_dict,
)
from caudal.errors import InputError

COUNT = 24


def fill_images(folder, count=COUNT, names="{}", seed=0):
    for index, image in enumerate(image_files.pixels(count, seed=seed)):
        image_files.save(image, folder / f"{names.format(index + 1)}.png")
    return folder


def fill_audio(folder, count=COUNT, names="{}", seed=0):
    return audio_files.fill(folder, count, names=names, seconds=0.3 + 0.1 * seed)


def image_keys(part):
    return [image.tobytes() for image in image_files.arrays(part)]


def clip_keys(part):
    return [part.clip(index).x.numpy().tobytes() for index in range(part.n_items)]


class Images:
    fill, keys, suffix = staticmethod(fill_images), staticmethod(image_keys), "png"
    open, whole = staticmethod(open_images), staticmethod(open_whole)
    label, none = "class", {}


class Audio:
    fill, keys, suffix = staticmethod(fill_audio), staticmethod(clip_keys), "wav"
    open, whole = staticmethod(open_audio), staticmethod(open_clips)
    label, none = "folder", {"context": ["none"]}


@pytest.fixture(params=[Images, Audio])
def kind(request):
    return request.param


def parts_of(kind, dataset):
    return [kind.keys(part) for part in (dataset.train, dataset.valid, dataset.test)]


# --- links -----------------------------------------------------------------------------------


def test_each_file_is_read_once_whatever_links_there_are(kind, tmp_path):
    plain = tmp_path / "plain"
    for number, name in enumerate(("cat", "dog")):
        kind.fill(plain / name, 12, seed=number)
    before = parts_of(kind, kind.open(plain, context=[kind.label]))
    (plain / "cat" / "up").symlink_to("..")
    (plain / "all").symlink_to("dog")
    (plain / "a.png").symlink_to(plain / "cat" / f"1.{kind.suffix}")
    dataset = kind.open(plain, context=[kind.label])
    train, valid, test = parts_of(kind, dataset)
    assert [train, valid, test] == before
    assert not set(train) & set(test)
    assert dataset.notes[0] == (
        f"passed over links to files that were read already in {plain}: a.png, all, cat/up"
    )


def test_links_out_of_the_folder_are_followed(kind, tmp_path):
    kind.fill(tmp_path / "elsewhere" / "deep")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "x").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "y").symlink_to(tmp_path / "elsewhere" / "deep")
    dataset = kind.open(tmp_path / "here")
    assert sum(len(keys) for keys in parts_of(kind, dataset)) == COUNT
    assert dataset.notes[0].endswith(f"in {tmp_path / 'here'}: y")


def test_a_link_to_nothing_is_named(kind, tmp_path):
    kind.fill(tmp_path)
    (tmp_path / f"gone.{kind.suffix}").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"gone.{kind.suffix} cannot be read"):
        kind.open(tmp_path)


# --- parts -----------------------------------------------------------------------------------


def test_items_of_names_that_fit_are_a_part(kind, tmp_path):
    kind.fill(tmp_path, 40)
    whole = [f"{n}.{kind.suffix}" for n in range(1, 41)]
    every = kind.open(tmp_path, test="1?.*", valid="2?.*")
    schema = every.schema
    items = kind.whole(tmp_path, schema)
    assert list(items.names) == whole
    keys = dict(zip(whole, kind.keys(items.source), strict=True))
    assert kind.keys(every.test) == [keys[name] for name in whole[9:19]]
    assert kind.keys(every.valid) == [keys[name] for name in whole[19:29]]
    assert len(kind.keys(every.train)) == 20
    one = kind.open(tmp_path, test="1?.*")
    assert kind.keys(one.test) == kind.keys(every.test)
    with pytest.raises(InputError, match=r"fits both `valid` and `test`"):
        kind.open(tmp_path, test="1?.*", valid="?0.*")
    with pytest.raises(InputError, match=r"`valid` \*.csv: no file fits it; there are 1"):
        kind.open(tmp_path, valid="*.csv")


# --- labels ----------------------------------------------------------------------------------


def fill_digits(kind, folder):
    for digit in (0, 2, 10):
        for writer in ("anna", "bob"):
            kind.fill(folder, 4, names=f"{digit}_{writer}_{{}}", seed=digit)
    return folder


def codes(context):
    """The labels of each item, whether they are in frames or not."""
    return context if context.ndim == 2 else context[:, :, 0]


def test_labels_from_names_condition_a_flow(kind, tmp_path):
    fill_digits(kind, tmp_path)
    options = {"labels": "{digit}_{writer}_{index}"}
    dataset = kind.open(tmp_path, context=["writer", "digit"], test="*_1.*", **options)
    writer, digit = dataset.schema.context
    assert (writer.categories, digit.categories) == (("anna", "bob"), (0, 2, 10))
    assert dataset.schema.levels_of_context == [2, 3]
    assert schema_from_dict(dataset.schema.to_dict()) == dataset.schema
    rows = torch.cat([codes(batch.context) for batch in dataset.test.items()])
    assert rows.tolist() == [[w, d] for d in range(3) for w in range(2)]
    items = kind.whole(tmp_path, dataset.schema, **options)
    assert items.names[0].startswith("0_anna_1")
    fixed = kind.whole(tmp_path, dataset.schema, fixed={"writer": "bob", "digit": 2})
    first = next(fixed.source.items())
    assert codes(first.context)[0].tolist() == [1.0, 1.0]


def test_numbers_from_a_table_condition_a_flow(kind, tmp_path):
    kind.fill(tmp_path / "files")
    rows = [f"{n}.{kind.suffix},{n / 2},{'ab'[n % 2]}" for n in range(1, COUNT + 1)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["file,age,group", *rows]))
    dataset = kind.open(tmp_path / "files", context=["age", "group"], metadata=str(table))
    age, group = dataset.schema.context
    assert (age.kind, group.categories) == ("real", ("a", "b"))
    assert dataset.schema.levels_of_context == [0, 2]
    items = kind.whole(tmp_path / "files", dataset.schema, metadata=str(table))
    rows_of = torch.cat([codes(batch.context) for batch in items.source.items()])
    assert rows_of[:3].tolist() == [[0.5, 1.0], [1.0, 0.0], [1.5, 1.0]]
    (tmp_path / "files" / "metadata.csv").write_text("\n".join(["file,age", *rows[:0]]))
    with pytest.raises(InputError, match=r"has no row for .*1\.\w+: add it"):
        kind.open(tmp_path / "files", context=["age"])


def test_labels_of_sub_folders(kind, tmp_path):
    for name in ("10", "2"):
        kind.fill(tmp_path / name, 12)
    (column,) = kind.open(tmp_path, context=[kind.label]).schema.context
    # Classes of images are text in plain order, as elsewhere; labels of audio are typed.
    assert column.categories == (("10", "2") if kind is Images else (2, 10))


# --- items -----------------------------------------------------------------------------------


def test_what_stands_beside_scores(kind, tmp_path):
    for name in ("a", "b"):
        kind.fill(tmp_path / name, 3)
    column = Column.of_categories(kind.label, ("a", "b"), "string")
    context = (column,)
    schema = (
        ImageSchema((1, 6, 5), context=context)
        if kind is Images
        else AudioSchema(8000, 512, 128, mels=0, context=context)
    )
    items = kind.whole(tmp_path, schema)
    pieces = list(items.pieces())
    assert len(pieces) == items.total
    names = [name for piece in pieces for name in piece.beside.column(0).to_pylist()]
    assert names == list(items.names)
    assert sum(len(piece.batch.x) for piece in pieces) == 6
    if kind is Images:
        assert items.arrow.names == ["image", "class"]
        assert pieces[0].beside["class"].to_pylist() == ["a"] * 3 + ["b"] * 3
    else:
        assert items.arrow.names == ["clip", "seconds"]
        seconds = pieces[1].beside["seconds"].to_pylist()
        assert seconds == [pieces[1].batch.x.shape[-1] / 8000]
    items.refuse_columns(["log_prob"])
    with pytest.raises(InputError, match="has a column"):
        items.refuse_columns([items.arrow.names[0]])


def test_some_items_are_always_the_same(kind, tmp_path):
    kind.fill(tmp_path, 60)
    source = kind.open(tmp_path, **kind.none).train
    every = [batch.x for batch in source.items()]
    assert sum(len(x) for x in every) == source.n_items
    some, again = ([batch.x for batch in source.items(7)] for _ in range(2))
    assert sum(len(x) for x in some) == 7
    assert all(torch.equal(a, b) for a, b in zip(some, again, strict=True))
    known = {row.numpy().tobytes() for x in every for row in x}
    assert {row.numpy().tobytes() for x in some for row in x} <= known


def test_images_of_arrays_take_labels_by_their_number(tmp_path):
    rows = "\n".join(f"{n},{n % 2}" for n in range(1, 31))
    (tmp_path / "t.csv").write_text(f"file,odd\n{rows}")
    images = image_files.pixels(30)
    dataset = open_images(images, context=["odd"], metadata=str(tmp_path / "t.csv"))
    assert dataset.schema.context[0].categories == (0, 1)
    items = open_whole(images, dataset.schema, metadata=str(tmp_path / "t.csv"))
    assert items.source.context[:, 0].tolist() == [float(n % 2) for n in range(1, 31)]
    assert np.shares_memory(items.source.x.numpy(), images)
