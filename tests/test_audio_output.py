"""Clips go back to files, which read back as what was written."""

import numpy as np
import pytest
import soundfile

from caudal.data import AudioSchema, AudioWriter, open_clips
from caudal.errors import InputError

RATE = 8000
SCHEMA = AudioSchema(RATE, 512, 128, mels=0, trim=False, normalize=False)


def clips(count, length=4000, step=0):
    draw = np.random.default_rng(0)
    return [draw.integers(-9000, 9000, length + step * i).astype(np.int16) for i in range(count)]


def written(path, some, names=None):
    with AudioWriter(path, RATE) as writer:
        writer.expect(len(some))
        writer.write(some[:1], names and names[:1])
        writer.write(some[1:], names and names[1:])
    return path


def left(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "A.WAV"])
def test_one_clip_reads_back(name, tmp_path):
    path = written(tmp_path / "new" / "er" / name, clips(1))
    assert soundfile.info(path).subtype == "PCM_16"
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert np.array_equal(samples, clips(1)[0])
    assert left(path.parent) == [name]


def test_ogg_is_near(tmp_path):
    wave = (9000 * np.sin(np.arange(8000) / 5)).astype(np.int16)
    samples, _ = soundfile.read(written(tmp_path / "a.ogg", [wave]), dtype="int16")
    assert np.abs(samples - wave.astype(int))[200:-200].max() < 1500


def test_a_folder_reads_back(tmp_path):
    path = written(tmp_path / "out", clips(3, step=100))
    assert left(path) == ["0001.wav", "0002.wav", "0003.wav"]
    items = open_clips(path, SCHEMA)
    found = items.source
    assert items.notes == ()
    for index, clip in enumerate(clips(3, step=100)):
        assert np.array_equal(SCHEMA.decode(found.clip(index).x[None])[0], clip)


def test_names_become_files(tmp_path):
    names = ["a/b.flac", "../../x.wav", ".hidden", "é 1", "A_B", "v1.5"]
    path = written(tmp_path / "out", clips(6), names)
    assert left(path) == ["A_B_2.wav", "a_b.wav", "hidden.wav", "v1.5.wav", "x.wav", "é 1.wav"]
    assert left(tmp_path) == ["out"]


def test_arrays_read_back(tmp_path):
    assert np.array_equal(np.load(written(tmp_path / "a.npy", clips(3))), np.stack(clips(3)))
    with np.load(written(tmp_path / "a.npz", clips(3))) as found:
        assert np.array_equal(found["audio"], np.stack(clips(3)))
        assert int(found["rate"]) == RATE


@pytest.mark.parametrize(
    ("name", "count", "step", "words"),
    [
        ("a.mp3", 1, 0, r"cannot write '\.mp3' files; known are \.wav \.flac \.ogg"),
        ("a.wav", 2, 0, r"2 clips do not go into one \.wav file: give a folder"),
        ("a.npy", 3, 5, "several lengths need a folder"),
        ("a.npz", 3, 5, "several lengths need a folder"),
        ("folder.wav", 1, 0, "is a folder: give another name"),
        ("full", 1, 0, "is there already"),
        ("none.wav", 0, 0, "there are no clips to write"),
        ("full/file/a.wav", 1, 0, "cannot write"),
    ],
)
def test_refusals(name, count, step, words, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    before = left(tmp_path)
    with pytest.raises(InputError, match=words):
        written(tmp_path / name, clips(count, step=step))
    assert left(tmp_path) == before


@pytest.mark.parametrize("name", ["a.wav", "a.npy", "out"])
def test_nothing_is_there_until_all_is(name, tmp_path):
    def fail():
        with AudioWriter(tmp_path / name, RATE) as writer:
            writer.write(clips(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert left(tmp_path) == []


def test_rates_that_a_form_does_not_hold(tmp_path):
    with (
        pytest.raises(InputError, match="cannot write"),
        AudioWriter(tmp_path / "a.flac", 10**6) as w,
    ):
        w.write(clips(1))
    assert left(tmp_path) == []


def test_writing_needs_the_block(tmp_path):
    with pytest.raises(RuntimeError):
        AudioWriter(tmp_path / "a.wav", RATE).write(clips(1))
