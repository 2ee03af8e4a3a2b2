"""Every kind of image file becomes upright gray or RGB pixels of 8 bits."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from caudal.data.images.form import Form, quietly
from caudal.errors import InputError
from image_files import encoded, pixels

GRAY = pixels(1, 4, 6)[0]
COLOUR = pixels(1, 4, 6, 3)[0]


def read(image, form="PNG", channels=None, **options):
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return Form(channels=channels).read(sink.getvalue(), "a")


@pytest.mark.parametrize("form", ["png", "bmp"])
@pytest.mark.parametrize("array", [GRAY, COLOUR], ids=["gray", "RGB"])
def test_files_without_loss(form, array):
    assert (Form().read(encoded(array, form), "a") == array).all()


def test_webp_without_loss():
    assert (read(Image.fromarray(COLOUR), "WEBP", lossless=True) == COLOUR).all()


def test_jpeg_is_near():
    smooth = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, axis=0)
    found = read(Image.fromarray(smooth[:, :, 0]), "JPEG", quality=95)
    assert found.shape == (64, 64, 1)
    assert np.abs(found.astype(int) - smooth).max() < 6


@pytest.mark.parametrize(
    ("mode", "form", "channels"),
    [
        ("1", "PNG", 1),
        ("LA", "PNG", 1),
        ("P", "PNG", 3),
        ("RGBA", "PNG", 3),
        ("CMYK", "JPEG", 3),
        ("YCbCr", "JPEG", 3),
    ],
)
def test_every_mode_is_gray_or_rgb(mode, form, channels):
    white = Image.new("RGB", (6, 4), "white").convert(mode)
    found = read(white, form)
    assert found.shape == (4, 6, channels)
    assert found.dtype == np.uint8
    assert (found == 255).all()


def test_sixteen_bits_keep_the_upper_eight():
    wide = (GRAY[:, :, 0].astype(np.uint16) << 8) + 77
    assert (read(Image.fromarray(wide)) == GRAY).all()


def test_what_is_transparent_is_white():
    image = Image.fromarray(COLOUR).convert("RGBA")
    image.putalpha(Image.fromarray(np.array([[0, 255] * 3] * 4, np.uint8)))
    found = read(image)
    assert (found[:, ::2] == 255).all()
    assert (found[:, 1::2] == COLOUR[:, 1::2]).all()


def test_a_palette_with_a_transparent_colour():
    palette = Image.fromarray(GRAY[:, :, 0]).convert("P")
    found = read(palette, transparency=bytes([0] * 256))
    assert (found == 255).all()
    assert found.shape == (4, 6, 3)


def test_images_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row of the file is the right side
    found = read(Image.fromarray(COLOUR), exif=exif)
    assert (found == np.rot90(COLOUR, -1)).all()


CUT = b"Exif\0\0MM\0*\0\0\0\x08\0"
SHORT = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"


@pytest.mark.parametrize("note", [CUT, SHORT])
def test_broken_notes_of_a_camera_do_no_harm(note):
    sink = io.BytesIO()
    Image.fromarray(COLOUR).save(sink, "JPEG", quality=100, exif=note)
    with quietly():
        assert Form().read(sink.getvalue(), "a").shape == COLOUR.shape


def test_damaged_bytes_are_one_line(tmp_path):
    rng = np.random.default_rng(0)
    files = [encoded(COLOUR, form) for form in ("png", "jpeg", "webp", "bmp")]
    for _ in range(2000):
        file = np.frombuffer(files[rng.integers(4)], np.uint8).copy()
        file[rng.integers(len(file), size=4)] = rng.integers(256, size=4)
        with quietly(), contextlib.suppress(InputError):
            assert Form().read(file.tobytes(), "a").dtype == np.uint8


def test_gray_becomes_rgb_where_that_is_asked_for():
    assert (read(Image.fromarray(GRAY[:, :, 0]), channels=3) == GRAY.repeat(3, 2)).all()
    assert read(Image.fromarray(COLOUR), channels=1).shape == (4, 6, 3)  # no colour is lost


def test_other_formats_are_not_tried():
    sink = io.BytesIO()
    Image.fromarray(GRAY[:, :, 0]).save(sink, "TIFF")
    with pytest.raises(InputError, match="a cannot be read as an image: it is none of PNG"):
        Form().read(sink.getvalue(), "a")


def test_a_picture_of_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="cannot be read as an image: it has too many pixels"):
        Form().read(encoded(GRAY), "a")


def test_crop_comes_before_resize():
    image = np.zeros((8, 8, 1), np.uint8)
    image[2:6, 2:6] = 200
    assert (Form.of([4], [2], None).read(image, "a") == 200).all()


def test_what_juts_out_is_cut_on_both_sides():
    image = np.zeros((4, 12, 1), np.uint8)
    image[:, 4:8] = 200
    found = Form.of([], [2, 2], None).read(image, "a")
    assert found.shape == (2, 2, 1)
    assert found.min() > 180
