"""What cannot be used is refused in one line: which file, what, and what to do."""

import numpy as np
import pytest

from audio_files import fill, save, tone
from caudal.data import AudioSchema, open_audio, open_clips, open_data
from caudal.errors import InputError


def refused(*words, data, **options):
    with pytest.raises(InputError) as caught:
        open_audio(data, **options)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


def clipped():
    return np.clip(4 * tone(), -1, 1)


BAD = {
    "text.wav": (
        lambda p: p.write_text("hello"),
        "cannot be read as audio (Format not recognised",
    ),
    "empty.wav": (lambda p: p.write_bytes(b""), "is empty"),
    "silent.wav": (lambda p: save(p, np.zeros(8000)), "is silent"),
    "hum.wav": (lambda p: save(p, np.full(8000, 0.2)), "is silent"),
    "faint.wav": (lambda p: save(p, tone(level=5e-5), subtype="FLOAT"), "is silent"),
    "clipped.wav": (lambda p: save(p, clipped()), "is clipped in"),
    "short.wav": (lambda p: save(p, tone(0.03)), "is too short, 0.030 s"),
    "none.wav": (lambda p: save(p, np.zeros(0)), "is too short, 0.000 s"),
    "nan.wav": (
        lambda p: save(p, np.where(tone() > 0.49, np.nan, tone()), subtype="FLOAT"),
        "samples that are NaN or infinite",
    ),
    "inf.wav": (
        lambda p: save(p, np.where(tone() > 0.49, np.inf, tone()), subtype="FLOAT"),
        "samples that are NaN or infinite",
    ),
    "opposed.wav": (
        lambda p: save(p, np.stack([tone(), -tone()], axis=1), subtype="FLOAT"),
        "its channels cancel out",
    ),
    "cut.flac": (
        lambda p: p.write_bytes(save(p, tone()).read_bytes()[:2000]),
        "cannot be read as audio",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_or_skipped(name, tmp_path):
    make, what = BAD[name]
    fill(tmp_path)
    make(tmp_path / name)
    refused(f"{tmp_path}/{name}", what, '`corrupt="skip"`', data=tmp_path)
    found = open_audio(tmp_path, corrupt="skip")
    assert sum(len(part.names) for part in (found.train, found.valid, found.test)) == 24
    assert found.notes[-1].startswith(f"skipped 1 of 25 clips: {tmp_path}/{name} ")
    assert what in found.notes[-1]


def test_several_are_counted_and_the_first_named(tmp_path):
    fill(tmp_path)
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / f"{name}.wav").write_text("x")
    (note,) = open_audio(tmp_path, corrupt="skip").notes
    assert note.startswith("skipped 5 of 29 clips: ")
    assert note.endswith(", and 2 more")
    for path in tmp_path.glob("[1-9]*"):
        path.write_text("x")
    refused("no clip can be used; the first: ", data=tmp_path, corrupt="skip")


def test_trimming_can_leave_too_little(tmp_path):
    wave = np.concatenate([tone(0.005), np.zeros(8000)])
    fill(tmp_path)
    save(tmp_path / "click.wav", wave)
    refused("click.wav is too short", "after trimming", data=tmp_path)
    assert open_audio(tmp_path, trim=False)


def test_floats_out_of_scale(tmp_path):
    fill(tmp_path)
    save(tmp_path / "big.wav", 30_000 * tone(), subtype="FLOAT")
    assert open_audio(tmp_path)
    refused("big.wav peaks at", "scale it to -1 .. 1", data=tmp_path, normalize=False)


def test_where_there_is_no_audio(tmp_path):
    (tmp_path / "empty").mkdir()
    refused("holds no audio: .wav .flac", data=tmp_path / "empty")
    refused("no file", data=tmp_path / "none" / "none.wav")
    refused("is no audio", data=np.zeros(3))
    refused("digits is no audio", data="digits")
    (tmp_path / "a.csv").write_text("a\n1\n")
    refused("unknown kind of file '.csv'", data=tmp_path / "a.csv")
    with pytest.raises(InputError, match="vowels are sounds, and no table"):
        open_data("vowels")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 16}, "`rate` 16: give samples a second"),
        ({"seconds": 0}, "`seconds` 0"),
        ({"seconds": float("nan")}, "`seconds` nan"),
        ({"hop": 0}, "`hop` 0"),
        ({"mels": 0}, "`mels` 0"),
        ({"window": 0}, "`window` 0"),
        ({"corrupt": "maybe"}, "`corrupt` maybe"),
        ({"split": (0.5, 0.5)}, "`split`"),
        ({"context": ["none", "mel"]}, "'none' goes alone"),
        ({"context": ["mel", "mel"]}, "'mel' is named twice"),
        ({"context": ["mell"]}, "has no such label; did you mean 'mel'?"),
        ({"context": ["speaker"]}, "labels come with `labels` or `metadata`"),
        ({"labels": "speaker"}, "give names in braces"),
        ({"labels": "{a}_{a}"}, "'a' is there twice"),
        ({"labels": "{a}_{b}"}, "1.wav does not match `labels` {a}_{b}"),
        ({"labels": "{name}", "context": ["nam"]}, "did you mean 'name'?"),
        ({"labels": "{mel}"}, "'mel' is no name for a label"),
        ({"test": "*.flac"}, "`test` *.flac: no file fits it; there are 1.wav"),
        ({"test": "1*", "valid": "1?.wav"}, "fits both `valid` and `test`"),
        ({"test": "*"}, "leaves none for training"),
        ({"metadata": "nowhere.csv"}, "no file nowhere.csv"),
    ],
)
def test_options(options, words, tmp_path):
    fill(tmp_path)
    refused(words, data=tmp_path, **options)


def test_too_few_clips(tmp_path):
    fill(tmp_path, 2)
    refused("1.wav has 0.6 s, too few to be cut in time into 3 parts", data=tmp_path)


def test_a_part_beside_others(tmp_path):
    fill(tmp_path / "train", 2)
    fill(tmp_path, 1)
    refused("has folders of parts, and 1.wav beside them", data=tmp_path)


def test_labels_that_training_does_not_have(tmp_path):
    for speaker in ("anna", "bob"):
        fill(tmp_path, 20, names=f"{speaker}_{{}}")
    fill(tmp_path, 2, names="carl_{}")
    options = {"labels": "{speaker}_{n}", "context": ["speaker"], "test": "carl_*"}
    refused("carl_1.wav has the speaker 'carl'", "no training clip", data=tmp_path, **options)
    options["context"] = ["mel"]
    schema = open_audio(tmp_path, **{**options, "test": None, "context": ["speaker"]}).schema
    save(tmp_path / "x" / "dora_1.wav", tone())
    with pytest.raises(InputError, match=r"dora_1\.wav has the speaker 'dora'"):
        open_clips(tmp_path / "x", schema, labels="{speaker}_{n}")
    with pytest.raises(InputError, match="has no such label"):
        open_clips(tmp_path / "x", schema)


def test_one_label_for_all(tmp_path):
    fill(tmp_path, names="anna_{}")
    words = "each training clip has 'anna'"
    refused(words, data=tmp_path, labels="{speaker}_{n}", context=["speaker"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("file,a\n1,2,3\n", "line 2: 3 values, others have 2"),
        ("file,a\n1,2\n1,3\n", "line 3: '1' is there twice"),
        ("file,a\n1,2\n", "has no row for"),
        ("file,a\n" + "".join(f"{i},\n" for i in range(1, 25)), "has no label 'a'"),
    ],
)
def test_tables(text, words, tmp_path):
    fill(tmp_path / "audio")
    (tmp_path / "t.csv").write_text(text)
    refused(words, data=tmp_path / "audio", metadata=str(tmp_path / "t.csv"), context=["a"])


def test_a_table_that_is_no_text(tmp_path):
    fill(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"file,a\n1,\xff\xfe\n")
    refused("no UTF-8", data=tmp_path, metadata=str(tmp_path / "t.csv"), context=["a"])


def test_clips_of_one_file_that_cannot_be_used(tmp_path):
    path = save(tmp_path / "a.wav", np.zeros(8000))
    with pytest.raises(InputError, match=r"a\.wav is silent"):
        open_clips(path, AudioSchema(8000, 512, 128))


def test_a_wav_that_was_cut_off_is_named(tmp_path):
    """The library that reads it gives what is there, as if that were all."""
    path = save(tmp_path / "whole.wav", tone())
    cut, schema = tmp_path / "cut.wav", AudioSchema(rate=8000, crop=128, hop=128)
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cut.wav ends too early, it was cut off: copy it anew"):
        open_clips(cut, schema)
    open_clips(path, schema)
