"""From folders and files to clips in three parts, with their labels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audio_files import fill, save, tone
from caudal import InputError
from caudal.data import AudioSchema, finds_audio, finds_images, open_audio, open_clips
from caudal.data.audio.form import clipped_share, trim
from caudal.data.audio.schema import window_of
from caudal.data.schema import schema_from_dict
from image_files import fill as fill_images
from image_files import pixels

FSDD = Path(__file__).parents[2] / "shared" / "data" / "fsdd"


def names(dataset):
    return [list(part.names) for part in (dataset.train, dataset.valid, dataset.test)]


def whole(path, **options):
    return open_clips(path, AudioSchema(8000, 512, 128, mels=0, **options)).source


# --- what is audio ---------------------------------------------------------------------------


def test_what_looks_like_audio(tmp_path):
    fill(tmp_path / "sounds", 9)
    fill_images(tmp_path / "pictures", pixels(4))
    fill(tmp_path / "both", 3)
    fill_images(tmp_path / "both", pixels(4))
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "fake.wav").mkdir()
    assert finds_audio(tmp_path / "sounds")
    assert finds_audio(str(tmp_path))  # in folders below, more than pictures
    for name in ("pictures", "both", "empty", "table.csv", "fake.wav", "none", "none.wav"):
        assert not finds_audio(tmp_path / name), name
    assert finds_images(tmp_path / "both")
    save(tmp_path / "LOUD.WAV", tone())
    assert finds_audio(tmp_path / "LOUD.WAV")
    assert finds_audio("vowels")
    assert not finds_audio("digits")
    assert not finds_audio(np.zeros(3))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".FLAC"])
def test_each_kind_of_file_opens(suffix, tmp_path):
    path = save(tmp_path / f"tone{suffix}", tone(1.0))
    clips = whole(path, trim=False, normalize=False)
    assert list(clips.names) == [path.name]
    x = clips.clip(0).x[0, 1000:7000] / 32768  # codecs take their time at both ends
    assert len(clips.clip(0).x[0]) == pytest.approx(8000, abs=600)
    assert float(x.std()) == pytest.approx(0.5 / 2**0.5, rel=0.03)


def test_a_damaged_aiff_is_refused_without_a_word_of_its_own(tmp_path, capfd):
    path = save(tmp_path / "a.aiff", tone())
    content = path.read_bytes()
    at = content.index(b"SSND")
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    with pytest.raises(InputError, match="cannot be read"):
        whole(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_depths_become_16_bits(subtype, tmp_path):
    wave = tone()
    path = save(tmp_path / "a.wav", wave, subtype=subtype)
    x = whole(path, trim=False, normalize=False).clip(0).x[0].numpy()
    assert np.abs(x - wave * 32768).max() <= (1.1 if subtype != "PCM_U8" else 300)
    assert (x == x.round()).all()


def test_a_folder_opens_in_natural_order(tmp_path):
    fill(tmp_path / "naïve 音", 30)
    found = open_audio(tmp_path / "naïve 音")
    assert found.schema == AudioSchema(8000, 2048, 128, 64, 512)
    train, valid, test = names(found)
    assert sorted(train + valid + test) == sorted(f"{i}.wav" for i in range(1, 31))
    assert [int(n[:-4]) for n in train] == sorted(int(n[:-4]) for n in train)
    assert found.notes == ()
    assert names(open_audio(tmp_path / "naïve 音")) == names(found)
    assert names(open_audio(tmp_path / "naïve 音", seed=1)) != names(found)


def test_hidden_files_and_loops_are_passed_over(tmp_path):
    fill(tmp_path)
    for name in (".DS_Store", "._1.wav", "notes.txt", "cover.png"):
        (tmp_path / name).write_text("no sound")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = open_audio(tmp_path)
    assert sum(map(len, names(found))) == 24
    assert found.notes == (
        f"passed over files of other kinds in {tmp_path}: cover.png, notes.txt",
        f"passed over links to files that were read already in {tmp_path}: loop",
    )


def test_windows_are_about_46_ms():
    assert [window_of(rate) for rate in (8000, 16000, 22050, 44100)] == [512, 1024, 1024, 2048]


# --- what becomes of a recording -------------------------------------------------------------


def test_rates_and_channels_become_one(tmp_path):
    fill(tmp_path, rate=16000)
    stereo = np.stack([tone(1.0, 440, 48000), tone(1.0, 440, 48000, level=0.1)], axis=1)
    save(tmp_path / "stereo.wav", stereo, 48000)
    options = {"valid": "[1-3].wav", "test": "stereo*", "trim": False, "normalize": False}
    found = open_audio(tmp_path, **options)
    assert found.schema.rate == 16000
    assert found.schema.window == 1024
    assert found.notes == (
        "resampled 1 of 25 clips to 16000 Hz",
        "averaged the channels of 1 of 25 clips",
    )
    x = found.test.clip(0).x[0].double()
    assert len(x) == 16000
    peaks = torch.fft.rfft(x).abs()
    assert int(peaks.argmax()) == 440
    assert float(x[1000:-1000].abs().max() / 32768) == pytest.approx(0.3, abs=0.02)
    assert open_audio(tmp_path, rate=8000).schema.rate == 8000


def test_silence_at_the_ends_is_cut():
    silence = np.random.default_rng(0).normal(0, 1e-4, 4000)
    loud = tone(0.5)
    cut = trim(np.concatenate([silence, loud, silence]), 8000)
    assert abs(len(cut) - (4000 + 2 * 160)) <= 80  # a frame of 10 ms
    assert np.array_equal(cut[160:4160], loud)
    assert np.array_equal(trim(loud, 8000), loud)
    quiet = np.concatenate([0.02 * loud, loud])  # -34 dB is no silence
    assert len(trim(quiet, 8000)) == len(quiet)


def test_peaks_become_one(tmp_path):
    path = save(tmp_path / "a.wav", tone(level=0.01))
    assert int(whole(path).clip(0).x.abs().max()) == round(0.95 * 32768)


def test_the_share_that_is_clipped():
    wave = np.zeros(100, np.float32)
    wave[10:12] = 1  # two are a peak
    assert clipped_share(wave) == 0
    wave[20:23] = -1
    wave[30:34] = 1
    assert clipped_share(wave) == pytest.approx(0.07)
    assert clipped_share(wave * 0.99) == 0


# --- parts -----------------------------------------------------------------------------------


def test_folders_are_parts(tmp_path):
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        fill(tmp_path / part, count)
    found = open_audio(tmp_path)
    assert [len(part) for part in names(found)] == [5, 2, 3]
    assert names(found)[1] == ["val/1.wav", "val/2.wav"]
    assert "folder" not in found.train.labels[0]


def test_a_part_that_there_is_not_takes_a_share(tmp_path):
    fill(tmp_path / "train", 20)
    fill(tmp_path / "test", 3)
    train, valid, test = names(open_audio(tmp_path))
    assert len(train) + len(valid) == 20
    assert valid
    assert len(test) == 3


def test_patterns_are_parts(tmp_path):
    fill(tmp_path, 40)
    train, valid, test = names(open_audio(tmp_path, test="*[05].wav"))
    assert test == [f"{i}.wav" for i in range(5, 41, 5)]
    assert set(train + valid) == {f"{i}.wav" for i in range(1, 41) if i % 5}
    assert valid
    train, valid, test = names(open_audio(tmp_path, test="1?.wav", valid="2?.wav"))
    assert [len(train), len(valid), len(test)] == [20, 10, 10]


def test_other_folders_are_parts(tmp_path):
    fill(tmp_path / "a")
    fill(tmp_path / "b", 3)
    found = open_audio(tmp_path / "a", test=tmp_path / "b")
    assert [len(part) for part in names(found)][2] == 3
    assert len(names(found)[0]) + len(names(found)[1]) == 24


# --- labels ----------------------------------------------------------------------------------


def test_labels_from_names(tmp_path):
    for digit in (0, 2, 10):
        for speaker in ("anna", "bob"):
            fill(tmp_path, 3, names=f"{digit}_{speaker}_{{}}")
    found = open_audio(
        tmp_path,
        context=["mel", "speaker", "digit"],
        labels="{digit}_{speaker}_{index}",
        test="*_1.wav",
        valid="*_2.wav",
    )
    speaker, digit = found.schema.context
    assert (digit.categories, digit.dtype) == ((0, 2, 10), "int64")
    assert (speaker.categories, speaker.dtype) == (("anna", "bob"), "string")
    assert found.test.labels[0] == {"digit": 0, "speaker": "anna", "index": 1}
    clip = found.test.clip(5)
    assert clip.name == "10_bob_1.wav"
    assert clip.context.shape == (66, found.schema.frames(clip.x.shape[1]))
    assert (clip.context[:2] == torch.tensor([[1.0], [2.0]])).all()
    clips = open_clips(
        tmp_path / "2_bob_3.wav", found.schema, labels="{digit}_{speaker}_{i}"
    ).source
    assert clips.clip(0).context[:2, 0].tolist() == [1, 1]
    given = {"digit": 10, "speaker": "anna"}
    clips = open_clips(save(tmp_path / "x.wav", tone()), found.schema, fixed=given).source
    assert clips.clip(0).context[:2, 0].tolist() == [0, 2]


def test_a_schema_goes_through_json_and_opens_again(tmp_path):
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    found = open_audio(tmp_path, context=["folder"], seconds=0.25, rate=4000)
    assert found.schema.context[0].categories == ("a", "b")
    assert found.train.clip(0).context.shape == (1, 1)
    schema = schema_from_dict(found.schema.to_dict())
    assert schema == found.schema
    again = open_audio(tmp_path, schema=schema, seconds=3, mels=5)
    assert again.schema == schema
    assert again.train.clip(3).x.equal(found.train.clip(3).x)


TABLES = {
    "head.csv": 'name,emotion,age\n1.wav,"happy, loud",20.5\n2,sad,31\n3,sad,40\n',
    "bars.csv": '1|He said "no|20.5\n2|sad|31\n3|sad|40\n',
    "tabs.tsv": "emotion\tfile\tage\nhappy\t./sub/1.wav\t20.5\nsad\t2\t31\nsad\t3\t40\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_labels_from_a_table(name, tmp_path):
    fill(tmp_path / "audio", 3)
    (tmp_path / name).write_text(TABLES[name], "utf-8")
    label, number = ("text", "normalized") if name == "bars.csv" else ("emotion", "age")
    sources = [tmp_path / "audio" / f"{i}.wav" for i in (1, 2, 3)]
    table = tmp_path / name
    if name == "tabs.tsv":
        table.write_text(TABLES[name].replace("sub/", ""), "utf-8")
    found = open_audio(
        tmp_path / "audio",
        context=[label, number],
        metadata=str(table),
        valid=sources[1],
        test=sources[2],
        split=(0.98, 0.01, 0.01),
    )
    assert [column.kind for column in found.schema.context] == ["categorical", "real"]
    assert found.test.labels == [{label: "sad", number: 40.0}]
    assert found.test.clip(0).context.tolist() == [[1.0], [40.0]]


def test_a_table_in_the_folder_is_found(tmp_path):
    fill(tmp_path / "wavs")
    rows = [f"{i}|{'even' if i % 2 == 0 else 'odd'}|x" for i in range(1, 25)]
    (tmp_path / "metadata.csv").write_text("\n".join(rows), "utf-8")
    found = open_audio(tmp_path, context=["text"])
    assert found.notes == ()
    assert found.schema.context[0].categories == ("even", "odd")
    rows = [f"{row[:-1]}a, b, c, and d" for row in rows]  # more commas than bars
    (tmp_path / "metadata.csv").write_text("\n".join(rows), "utf-8")
    assert open_audio(tmp_path, context=["text"]).schema.context == found.schema.context
    (tmp_path / "metadata.csv").write_text("1|no others|x", "utf-8")
    assert open_audio(tmp_path).schema.context == ()  # not looked at


# --- built in, and real ----------------------------------------------------------------------


def test_vowels():
    found = open_audio("vowels", context=["mel", "vowel", "voice", "pitch"])
    assert [column.kind for column in found.schema.context] == ["categorical"] * 2 + ["real"]
    assert found.schema.context[0].categories == ("a", "e", "i", "o", "u")
    assert found.schema.rate == 8000
    every = [found.train, found.valid, found.test]
    assert sum(len(part.names) for part in every) == 600
    assert min(min(part.seconds) for part in every) > 0.45
    assert open_audio("vowels").train.clip(7).x.equal(found.train.clip(7).x)
    assert open_audio("vowels", rate=4000, memory=0).train.clip(0).x.shape[1] < 4000


def test_vowels_have_the_pitch_and_the_formants_that_they_say():
    clips = open_audio("vowels", context=["none"]).test
    for index in range(20):
        x = clips.clip(index).x[0, 1000:3048].double()
        spectrum = torch.fft.rfft(x * torch.hann_window(2048, dtype=x.dtype), 8192).abs()
        auto = torch.fft.irfft(spectrum**2)
        lag = 8000 / clips.labels[index]["pitch"]
        assert auto[int(0.94 * lag) : int(1.06 * lag) + 2].max() > 0.8 * auto[0]
        assert auto[int(0.44 * lag) : int(0.56 * lag)].max() < 0.9 * auto[0]
        low, high = float(spectrum[:1000].sum()), float(spectrum[1800:3200].sum())  # 1 to 3 kHz
        assert (high > 0.06 * low) == (clips.labels[index]["vowel"] in "ei")


@pytest.mark.skipif(not FSDD.is_dir(), reason="no real data beside the checkout")
def test_spoken_digits():
    found = open_audio(
        FSDD,
        test="*_[0-4].flac",
        labels="{digit}_{speaker}_{index}",
        context=["mel", "digit", "speaker"],
    )
    assert len(found.test.names) == 300
    assert len(found.train.names) + len(found.valid.names) == 2700
    assert found.schema.rate == 8000
    digit, speaker = found.schema.context
    assert digit.categories == tuple(range(10))
    assert speaker.categories == ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    hours = sum(part.duration for part in (found.train, found.valid, found.test)) / 3600
    assert 0.3 < hours < 21.9 / 60
