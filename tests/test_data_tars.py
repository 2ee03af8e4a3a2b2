"""Images and sound in tar shards: read where they lie, labelled, and refused where hostile."""

import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

import audio_files
import image_files
from caudal import InputError
from caudal.data import finds_audio, finds_images, open_audio, open_images
from caudal.data.audio.recordings import find_audio, read_header
from caudal.data.files import places
from caudal.data.files.lots import AUDIO, IMAGES
from caudal.data.files.members import Member
from caudal.data.files.tars import finds_tars, kind_of_tars, read_tars
from caudal.data.images import open_whole
from caudal.model.config import missing_paths, wherever_read
from image_files import encoded, pixels

PIXELS = pixels(24)


def pack(path, files):
    """Writes a tar of (name, bytes) pairs, or of TarInfo without content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(first, last):
    """Images with their classes and labels beside them, as WebDataset writes them."""
    for i in range(first, last):
        yield f"{i:03}.png", encoded(PIXELS[i])
        yield f"{i:03}.cls", str(i % 3).encode()
        yield f"{i:03}.json", json.dumps({"size": i % 2, "boxes": [1, 2]}).encode()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Three shards of eight images each, by the pattern of their names."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(3):
        pack(folder / f"a-{number:02}.tar", samples(8 * number, 8 * number + 8))
    return folder


@pytest.mark.parametrize("name", ["a-{00..02}.tar", "a-*.tar", "a-{00,01,02}.tar", ""])
def test_shards_hold_the_images_of_a_folder_in_their_order(shards, name):
    dataset = open_whole(str(shards / name), open_images(PIXELS).schema)
    assert torch.equal(dataset.source.x, torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert dataset.names[9] == "a-01.tar/009.png"


@pytest.fixture
def in_memory(shards):
    """The same shards at a URL, and none of them afterwards."""
    memory = fsspec.filesystem("memory")
    for path in shards.glob("*.tar"):
        memory.pipe(f"/tars/{path.name}", path.read_bytes())
    yield "memory://tars"
    memory.rm("/tars", recursive=True)


@pytest.mark.parametrize("name", ["a-{00..02}.tar", "a-*.tar"])
def test_shards_at_urls_are_those_of_the_folder(shards, in_memory, name):
    theirs = open_images(str(shards / name), context=["class"])
    for where in (in_memory, f"file://{shards}"):
        ours = open_images(f"{where}/{name}", context=["class"])
        assert torch.equal(ours.train.x, theirs.train.x)
        assert torch.equal(ours.train.context, theirs.train.context)
    dataset = open_whole(f"{in_memory}/{name}", theirs.schema)
    assert dataset.names[9] == "a-01.tar/009.png"


def test_sound_in_shards_at_urls(tmp_path):
    audio_files.save(tmp_path / "tone.wav", audio_files.tone())
    content = (tmp_path / "tone.wav").read_bytes()
    pack(tmp_path / "a.tar", ((f"{i}.wav", content) for i in range(4)))
    url = f"file://{tmp_path}/a.tar"
    assert kind_of_tars(url) is AUDIO
    ours, theirs = (open_audio(name, context=("none",)) for name in (url, tmp_path / "a.tar"))
    assert ours.train.n_rows == theirs.train.n_rows


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("memory://nowhere/a.tar", "no file memory://nowhere/a.tar"),
        ("memory://nowhere/*.tar", r"no .tar files are there"),
        ("nothing://a.tar", "nothing://a.tar cannot be reached: .*nothing"),
        ("http://127.0.0.1:9/a.tar", "a.tar cannot be reached: .*127.0.0.1:9"),
    ],
)
def test_a_url_without_shards_is_one_line(name, said):
    with pytest.raises(InputError, match=said) as caught:
        open_images(name)
    assert "\n" not in str(caught.value)


class NoCredentialsError(Exception):
    """As botocore's, which is no OSError."""


@pytest.mark.parametrize(
    ("call", "refuses"),
    [
        (places.exists, "isfile"),
        (places.matching, "glob"),
        (places.size_of, "size"),
        (places.opened, "open"),
        (lambda name: places.read_at(name, 0, 1), "cat_file"),
    ],
)
def test_a_store_that_refuses_is_one_line(call, refuses, monkeypatch):
    def refuse(*args):
        raise NoCredentialsError("no keys")

    monkeypatch.setattr(MemoryFileSystem, refuses, refuse)
    with pytest.raises(InputError, match=r"memory://x/\*.tar cannot be reached: no keys"):
        call("memory://x/*.tar")


class Plain(BaseHTTPRequestHandler):
    """A server of one file that knows no parts of it; at /long it tells no length."""

    def do_GET(self):
        self.send_response(404 if self.path == "/missing" else 200)
        if self.path != "/long":
            self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"123456789" if self.command == "GET" else b"")

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


def test_a_server_without_parts_or_lengths_is_told_of():
    pytest.importorskip("aiohttp")
    with ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert not places.exists(f"{url}/missing")
        assert places.exists(f"{url}/a.tar")
        assert places.size_of(f"{url}/a.tar") == 9
        assert places.read_at(f"{url}/a.tar", 4, 0) == b""
        with pytest.raises(InputError, match="sends 9 bytes where 2 are asked for"):
            places.read_at(f"{url}/a.tar", 4, 2)
        with pytest.raises(InputError, match="does not tell how long"):
            places.size_of(f"{url}/long")
        server.shutdown()


def test_classes_and_labels_stand_beside_the_images(shards):
    data = open_images(str(shards / "a-{00..02}.tar"), context=["class", "size"])
    assert [column.name for column in data.schema.context] == ["class", "size"]
    of_pixels = {row.tobytes(): i for i, row in enumerate(PIXELS.transpose(0, 3, 1, 2))}
    for x, context in zip(data.train.x, data.train.context, strict=True):
        i = of_pixels[x.numpy().tobytes()]
        assert context.tolist() == [i % 3, i % 2]


def test_a_tar_of_a_folder_of_classes_and_parts_is_that_folder(tmp_path):
    tar = tmp_path / "photos.tar"
    for part, first in (("train", 0), ("valid", 8), ("test", 16)):
        image_files.fill(tmp_path / "photos" / part, PIXELS[first : first + 8], ["cat", "dog"] * 4)
    with tarfile.open(tar, "w") as file:
        file.add(tmp_path / "photos", "./photos")
    ours, theirs = (
        open_images(str(data), context=["class"]) for data in (tar, tmp_path / "photos")
    )
    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(ours, part).x, getattr(theirs, part).x)
        assert torch.equal(getattr(ours, part).context, getattr(theirs, part).context)


def test_shards_called_train_and_test_are_the_parts(tmp_path):
    pack(tmp_path / "train-0.tar", samples(0, 12))
    pack(tmp_path / "test-0.tar", samples(12, 20))
    pack(tmp_path / "val-0.tar", samples(20, 24))
    data = open_images(str(tmp_path))
    assert [len(data.train), len(data.valid), len(data.test)] == [12, 4, 8]
    other = open_images(str(tmp_path / "train-{0..0}.tar"), test=str(tmp_path / "test-*.tar"))
    assert len(other.test) == 8


def test_shards_in_folders_called_train_and_test_are_the_parts(tmp_path):
    pack(tmp_path / "train" / "0.tar", samples(0, 16))
    pack(tmp_path / "test" / "0.tar", samples(16, 24))
    assert len(open_images(str(tmp_path / "*" / "*.tar")).test) == 8


def test_a_part_of_one_class_keeps_its_label(tmp_path):
    for title, folders in (("train", "cd"), ("test", "c")):
        files = [(f"{f}/{i}.png", encoded(PIXELS[i])) for f in folders for i in range(8)]
        pack(tmp_path / f"{title}-0.tar", files)
    labels = [lot.labels for lot in read_tars(tmp_path, IMAGES).lots]
    assert [set(label.get("class", ())) for label in labels] == [{"c", "d"}, {"c"}]


def test_numbers_that_no_column_can_hold_are_no_labels(tmp_path):
    values = {"huge": 10**400, "inf": float("inf"), "nan": float("nan"), "n": 2**62, "x": 1e30}
    files = [("a.png", encoded(PIXELS[0])), ("a.json", json.dumps(values).encode())]
    (lot,) = read_tars(pack(tmp_path / "a.tar", files), IMAGES).lots
    assert lot.labels == {"n": [2**62], "x": [1e30]}


@pytest.mark.parametrize("size", ["-1", "-513"])
@pytest.mark.parametrize("name", ["1.png", ".hidden"])
def test_a_member_of_negative_size_is_refused(tmp_path, name, size):
    info = tarfile.TarInfo(name)
    info.pax_headers = {"size": size}
    path = pack(tmp_path / "a.tar", [*samples(0, 2), (info, b"")])
    with pytest.raises(InputError, match=r"a\.tar (holds a file of a neg|cannot be|is damaged)"):
        read_tars(path, IMAGES)


def test_clips_are_read_where_they_lie(tmp_path):
    folder = audio_files.fill(tmp_path / "clips", 12)
    files = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    tar = pack(tmp_path / "clips.tar", [(f"{f.stem.zfill(2)}.wav", f.read_bytes()) for f in files])
    data = open_audio(str(tar), context=["none"], seconds=0.1)
    plain = open_audio(str(folder), context=["none"], seconds=0.1)
    assert data.train.lengths == plain.train.lengths
    assert np.array_equal(data.test.samples(0), plain.test.samples(0))
    streamed = open_audio(str(tar), context=["none"], seconds=0.1, memory=0)
    assert np.array_equal(streamed.test.samples(0), plain.test.samples(0))
    first = find_audio(str(tar)).lots[0].raw(0)
    assert isinstance(first, Member)
    assert read_header(first).rate == audio_files.RATE


def test_what_shards_hold_tells_the_kind_of_data(shards, tmp_path):
    wave = audio_files.save(tmp_path / "a.flac", audio_files.tone()).read_bytes()
    sound = str(pack(tmp_path / "sound.tar", [("a.flac", wave), ("a.cls", b"0")]))
    assert kind_of_tars(sound) is AUDIO
    assert finds_audio(sound)
    assert not finds_images(sound)
    assert kind_of_tars(str(shards)) is IMAGES
    assert finds_images(str(shards / "a-00.tar"))
    image_files.save(PIXELS[0], tmp_path / "1.png")
    assert not finds_tars(tmp_path)  # a folder of images, with a tar beside them


def test_a_folder_with_other_data_beside_a_tar_is_none_of_shards(shards, tmp_path):
    tar = (shards / "a-00.tar").read_bytes()
    for name in ("a.tar", "._a.tar", ".hidden", "notes.txt"):
        (tmp_path / name).write_bytes(tar)
    assert open_whole(str(tmp_path), open_images(PIXELS).schema).names[0] == "a.tar/000.png"
    np.save(tmp_path / "a.npy", PIXELS)
    assert not finds_tars(tmp_path)


def test_a_second_picture_of_a_sample_and_hidden_files_are_no_images(tmp_path):
    mask = [("1.mask.png", b"x"), ("._1.png", b"x"), ("1.txt", b"a caption"), ("b.c.png", b"y")]
    listing = read_tars(pack(tmp_path / "a.tar", [*samples(0, 2), *mask]), IMAGES)
    titles = [title for lot in listing.lots for title in lot.titles]
    assert titles == ["a.tar/000.png", "a.tar/001.png", "a.tar/1.mask.png", "a.tar/b.c.png"]
    more = pack(tmp_path / "b.tar", [*samples(0, 2), ("000.mask.png", b"x"), ("000.txt", b"")])
    listing = read_tars(more, IMAGES)
    assert listing.count == 2
    assert listing.notes[0].endswith("other kinds in " + f"{more}: 2")


def link(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("../../1.png", "a path that leads out of it, '../../1.png'"),
        ("/1.png", "a path that leads out of it, '/1.png'"),
        (link("1.png", tarfile.SYMTYPE), "a link, '1.png'"),
        (link("1.png", tarfile.LNKTYPE), "a link, '1.png'"),
        (link("1.png", tarfile.CHRTYPE), "a device or a pipe, '1.png'"),
        (link("1.png", tarfile.FIFOTYPE), "a device or a pipe, '1.png'"),
    ],
)
def test_members_that_no_shard_should_have_are_refused(tmp_path, member, why):
    path = pack(tmp_path / "a.tar", [*samples(0, 2), (member, b"")])
    with pytest.raises(InputError, match=f"^a.tar holds {why}: pack the files themselves$"):
        open_images(str(path))


def test_what_is_wrong_with_shards_is_one_line(shards, tmp_path):
    whole = (shards / "a-00.tar").read_bytes()
    cut, bad = tmp_path / "cut.tar", tmp_path / "bad.tar"
    cut.write_bytes(whole[: 512 + 40])
    bad.write_bytes(b"no tar" * 200)
    twice = pack(tmp_path / "twice.tar", [*samples(0, 2), *samples(0, 1)])
    labels = pack(tmp_path / "labels.tar", [*samples(0, 2), ("001.json", b"[1]")][-1:])
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(b"")
    for data, why in (
        (cut, "cut.tar is cut short, in '000.png': copy it anew|cut.tar cannot be read as a tar"),
        (bad, "bad.tar cannot be read as a tar, it may be damaged"),
        (twice, "twice.tar: '000.png' is there twice"),
        (labels, "labels.tar/001.json has no labels"),
        (packed, "a.tar.gz is compressed, .*: uncompress it to .tar"),
        (shards / "a-{00..03}.tar", "no file .*a-03.tar"),
        (shards / "b-*.tar", "no .tar files are there"),
        (shards / "a-{0..999999999}.tar", "stands for 100,001 files, and 100,000 are the most"),
    ):
        assert finds_images(str(data)), data
        with pytest.raises(InputError, match=why) as caught:
            open_images(str(data))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [False, True])
def test_a_shard_damaged_in_its_middle_is_refused(shards, tmp_path, cut):
    whole = (shards / "a-00.tar").read_bytes()
    with tarfile.open(shards / "a-00.tar") as tar:
        at = tar.getmember("004.png").offset
    path = tmp_path / "a.tar"
    path.write_bytes(whole[:at] if cut else whole[:at] + b"x" * 512 + whole[at + 512 :])
    with pytest.raises(InputError, match=r"a.tar is damaged or cut short behind '003\.json'"):
        open_images(str(path))


def test_a_damaged_image_is_told_by_its_path_inside(tmp_path):
    path = str(pack(tmp_path / "a.tar", [*samples(0, 12), ("dogs/x.png", b"\x89PNG")]))
    with pytest.raises(InputError, match="^a.tar/dogs/x.png cannot be read as an image"):
        open_images(path)
    assert "skipped 1 of 13 images" in open_images(path, corrupt="skip").notes[-1]


def test_patterns_of_shards_hold_in_other_folders(shards, monkeypatch):
    monkeypatch.chdir(shards)
    config = wherever_read({"data": "a-{00..01}.tar", "test": "a-*.tar"})
    assert config == {"data": str(shards / "a-{00..01}.tar"), "test": str(shards / "a-*.tar")}
    assert not missing_paths(config)
