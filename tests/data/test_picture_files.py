import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.data.picture_files import gray, is_colored, read_header, read_picture, resized
from regard.errors import InputError


def stored(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def read(picture: Image.Image, kind: str = "PNG", **options: Any) -> list[Any]:
    pixels = read_picture(stored(picture, kind, **options), "it")
    assert pixels.dtype == np.uint8
    return pixels.tolist()


def of(values: Any, mode: str, dtype: type = np.uint8) -> Image.Image:
    array = np.array(values, dtype)
    height, width = array.shape[:2]
    return Image.frombytes(mode, (width, height), array.tobytes())


def test_a_transparent_background_is_white() -> None:
    # Black ink on nothing, as drawings are stored: the color below nothing is black as well.
    drawing = of([[[0, 0, 0, 0], [0, 0, 0, 255]], [[200, 100, 0, 51], [9, 9, 9, 128]]], "RGBA")
    # 51 / 255 is a fifth: 200 / 5 + 255 * 4 / 5 = 244; 128 / 255: (9 * 128 + 255 * 127) / 255 = 131.5.
    expected = [[[255] * 3, [0] * 3], [[244, 224, 204], [132] * 3]]
    for kind in ("PNG", "TIFF"):
        assert read(drawing, kind) == expected
    assert read(drawing, "WEBP", lossless=True, exact=True) == expected
    assert read(of([[[0, 0], [0, 255], [100, 51]]], "LA")) == [[[255] * 3, [0] * 3, [224] * 3]]


def palette(values: list[list[int]], colors: list[int]) -> Image.Image:
    picture = of(values, "P")
    picture.putpalette(colors)
    return picture


def test_transparent_colors_of_palettes_are_white() -> None:
    picture = palette([[0, 1, 2]], [10, 20, 30, 0, 0, 0, 200, 0, 0])
    assert read(picture) == [[[10, 20, 30], [0, 0, 0], [200, 0, 0]]]
    for kind in ("PNG", "GIF"):
        assert read(picture, kind, transparency=1) == [[[10, 20, 30], [255, 255, 255], [200, 0, 0]]]
    # An alpha for each color.
    assert read(picture, transparency=bytes([255, 0, 51])) == [[[10, 20, 30], [255] * 3, [244, 204, 204]]]


def test_a_transparent_value_or_color_is_white() -> None:
    assert read(of([[7, 8]], "L"), transparency=7) == [[[255] * 3, [8] * 3]]
    assert read(of([[[7, 8, 9], [7, 8, 8]]], "RGB"), transparency=(7, 8, 9)) == [[[255] * 3, [7, 8, 8]]]
    assert read(of([[7, 65535]], "I;16", np.uint16), transparency=7) == [[255, 255]]


def test_sixteen_bits_are_scaled() -> None:
    values = [[0, 128, 129, 257, 32768, 65535, 300]]
    # In 257ths, rounded.
    for kind in ("PNG", "TIFF"):
        assert read(of(values, "I;16", np.uint16), kind) == [[0, 0, 1, 1, 128, 255, 1]]
    assert read_picture(b"P5 2 1 65535\n" + struct.pack(">2H", 65535, 257), "it").tolist() == [[255, 1]]
    assert read_picture(b"P5 2 1 1000\n" + struct.pack(">2H", 1000, 500), "it").tolist() == [[255, 128]]


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_of_color_and_alpha_are_scaled() -> None:
    color = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 257, 0, 32896, 65535, 0))
    assert read_picture(color, "it").tolist() == [[[255, 1, 0], [128, 255, 0]]]
    alpha = png(2, 1, 16, 6, b"\0" + struct.pack(">8H", 0, 0, 0, 0, 65535, 0, 0, 65535))
    assert read_picture(alpha, "it").tolist() == [[[255, 255, 255], [255, 0, 0]]]
    gray_alpha = png(2, 1, 16, 4, b"\0" + struct.pack(">4H", 0, 0, 0, 65535))
    assert read_picture(gray_alpha, "it").tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_few_bits_reach_from_black_to_white() -> None:
    assert read(of([[0, 255]], "L").convert("1")) == [[0, 255]]
    assert read(of([[0, 255]], "L").convert("1"), "TIFF") == [[0, 255]]
    for depth, byte in ((1, 0b01000000), (2, 0b00110000), (4, 0b00001111)):
        assert read_picture(png(2, 1, depth, 0, bytes([0, byte])), "it").tolist() == [[0, 255]]


def test_inks_are_taken_from_white() -> None:
    inks = [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0], [0, 100, 200, 51]]]
    # (255 - 100) * 204 / 255 = 124, (255 - 200) * 204 / 255 = 44.
    expected = [[[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 0, 0], [204, 124, 44]]]
    assert read(of(inks, "CMYK"), "TIFF") == expected
    whole = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    np.testing.assert_allclose(read_picture(stored(whole, "JPEG", quality=100), "it")[8, 8], [255, 0, 0], atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_they_say(orientation: int) -> None:
    seen = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # How the camera stored what is seen (EXIF 2.32, tag 274: where row 0 and column 0 of what is stored lie).
    held = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.T,
        6: np.rot90(seen),
        7: seen[::-1, ::-1].T,
        8: np.rot90(seen, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    assert read(Image.fromarray(np.ascontiguousarray(held)), "PNG", exif=exif.tobytes()) == seen.tolist()


def test_the_first_frame_of_a_moving_picture_is_read(tmp_path: Path) -> None:
    frames = [palette([[n, n]], [0, 0, 0, 255, 0, 0, 0, 255, 0]) for n in (1, 2, 0)]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        first, *rest = frames if kind in ("GIF", "TIFF") else [frame.convert("RGB") for frame in frames]
        options = {"lossless": True} if kind == "WEBP" else {}
        content = stored(first, kind, save_all=True, append_images=rest, **options)
        assert read_picture(content, "it").tolist() == [[[255, 0, 0]] * 2]
        (tmp_path / kind).write_bytes(content)
        assert read_header(tmp_path / kind).moving
        (tmp_path / kind).write_bytes(stored(first, kind))
        assert not read_header(tmp_path / kind).moving


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    for name, picture in (("a.png", Image.new("RGBA", (3, 12))), ("b.jpg", Image.new("RGB", (3, 12)))):
        picture.save(tmp_path / name)
        header = read_header(tmp_path / name)
        assert (header.width, header.height, header.transparent, header.side) == (3, 12, name == "a.png", 6)


def test_gray_and_color_are_told_apart() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert not is_colored(values)
    assert not is_colored(np.stack([values] * 3, 2))
    # A gray photograph that is stored in color stays gray.
    assert not is_colored(read_picture(stored(Image.fromarray(np.stack([values] * 3, 2)), "JPEG", quality=20), "it"))
    dotted = np.stack([values] * 3, 2)
    dotted[3, 4] = 200, 100, 100
    assert is_colored(dotted)
    assert gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]]], np.uint8)).tolist() == [[76, 150, 29, 7]]


def test_a_smaller_picture_has_the_means() -> None:
    values = np.array([[0, 10, 20, 30], [10, 20, 30, 40]], np.uint8)
    assert resized(values, 1, False).tolist() == [[[20]]]
    assert resized(values, 2, False).tolist() == [[[5], [25]], [[15], [35]]]
    assert resized(values[:, :2], 2, True).tolist() == [[[0] * 3, [10] * 3], [[10] * 3, [20] * 3]]


def test_pixels_in_memory_are_pictures() -> None:
    assert read_picture(np.array([[7]], np.uint8), "it").tolist() == [[7]]
    assert read_picture(np.array([[[0, 0, 0, 0]]], np.uint8), "it").tolist() == [[[255] * 3]]
    for pixels in (np.zeros((2, 2)), np.zeros(2, np.uint8), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 2), np.uint8)):
        with pytest.raises(InputError, match="it has pixels"):
            read_picture(pixels, "it")


def broken() -> dict[str, tuple[bytes, str]]:
    whole = stored(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)), "PNG")
    photograph = stored(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)), "JPEG")
    bomb = png(30000, 30000, 8, 0, b"\0")
    return {
        "empty": (b"", "it is empty"),
        "text": (b"not a picture", "it is none"),
        "cut": (whole[: len(whole) // 2], "cannot be read as a picture"),
        "photograph": (photograph[: len(photograph) // 2], "cannot be read as a picture"),
        "head": (whole[:20], "cannot be read as a picture"),
        "bits": (whole.replace(b"IDAT", b"IDAX"), "cannot be read as a picture"),
        "bomb": (bomb, r"has more than 89,478,485 pixels, expected at most that"),
        "large": (png(10000, 10000, 1, 0, b"\0"), "has more than 89,478,485 pixels"),
        "zero": (png(0, 5, 8, 0, b"\0"), "cannot be read as a picture"),
        "float": (stored(of([[1.0]], "F", np.float32), "TIFF"), "has pixels of 32 bits, expected 8 or 16"),
        "whole numbers": (stored(of([[1]], "I", np.int32), "TIFF"), "has pixels of 32 bits"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none"),
    }


@pytest.mark.parametrize("name", list(broken()))
def test_what_is_no_whole_picture_is_named(tmp_path: Path, name: str) -> None:
    content, sentence = broken()[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png {sentence}" if sentence.startswith("has") else sentence) as caught:
        read_picture(path, str(path))
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name, sentence in (("nowhere.png", "is not there"), ("pipe.png", "is a named pipe"), ("", "is a folder")):
        with pytest.raises(InputError, match=sentence):
            read_picture(tmp_path / name, str(tmp_path / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="the system lets root read everything")
def test_a_picture_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(InputError, match=r"a\.png cannot be read: Permission denied"):
        read_picture(tmp_path / "a.png", str(tmp_path / "a.png"))
