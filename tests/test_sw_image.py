"""Program images survive the disk, and nothing but the image that was written is ever read."""

import struct
import zlib

import numpy as np
import pytest

from tests.networks import layer, small_network
from xnorloom.hw.spec.config import PRESETS
from xnorloom.sw.errors import ImageError
from xnorloom.sw.machine.image import Image
from xnorloom.sw.passes.compiler import compile_network


@pytest.fixture(scope="module")
def image():
    single = layer("linear", in_shape=(4, 1, 1), outputs=2, kernel=(1, 1), padding=(0, 0, 0, 0),
                   activation_planes=1, code_bits=1)
    network = small_network(single, in_shape=(4, 1, 1), planes=1)
    return compile_network(network, PRESETS["tiny"], batch=1)


def resealed(data):
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def test_image_survives_the_disk(image, tmp_path):
    image.save(tmp_path / "net.xlm")
    again = Image.load(tmp_path / "net.xlm", PRESETS["tiny"])
    assert again.metadata == image.metadata
    assert again.config == image.config
    np.testing.assert_array_equal(again.program, image.program)
    assert again.to_bytes() == image.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["net.xlm"]


def test_image_of_a_folded_layer_survives():
    image = compile_network(small_network(), PRESETS["small"])
    assert image.metadata["input"]["folded"] is not None
    assert Image.from_bytes(image.to_bytes()).metadata == image.metadata


def test_same_network_gives_the_same_bytes():
    one, two = (compile_network(small_network(), PRESETS["small"]) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()


def test_every_flipped_byte_is_noticed(image):
    data = image.to_bytes()
    for position in range(len(data)):
        for flip in (0x01, 0xFF):
            broken = bytearray(data)
            broken[position] ^= flip
            with pytest.raises(ImageError):
                Image.from_bytes(bytes(broken))


def test_every_truncation_is_noticed(image):
    data = image.to_bytes()
    for size in range(len(data)):
        with pytest.raises(ImageError, match=r"^Image must be .* bytes"):
            Image.from_bytes(data[:size])
    with pytest.raises(ImageError, match="as its header says"):
        Image.from_bytes(data + b"\0")


@pytest.mark.parametrize(("position", "value", "message"), [
    (0, b"\x89PNG", r"^Image must start with b'\\x89XLM', not b'\\x89PNG'$"),
    (4, struct.pack("<I", 9), r"^Image must be of format version \d+, not 9$"),
    (4, struct.pack("<I", 1),
     r"^Image must be of format version 2, not 1: compile the network again with this version$"),
    (8, struct.pack("<I", 9), r"^Image must have the fingerprint of its machine, .* not 0x0{7}9$"),
    (16, b"METB", r"^Image must have a section 'META'"),
    (20, struct.pack("<I", 1 << 20), r"^Image section b'META' must lie inside the file"),
])
def test_each_check_names_itself(image, position, value, message):
    data = image.to_bytes()
    data = data[:position] + value + data[position + len(value):]
    with pytest.raises(ImageError, match=message):
        Image.from_bytes(resealed(data))


def test_wrong_machine_is_an_error(image):
    with pytest.raises(ImageError, match="Image must be for machine 'wide'"):
        Image.from_bytes(image.to_bytes(), PRESETS["wide"])


def test_nonsense_behind_a_good_checksum_is_an_error(image):
    broken = Image(image.config, {"layers": 3}, image.program)
    with pytest.raises(ImageError, match="^Image metadata network must be given, and is not$"):
        Image.from_bytes(broken.to_bytes())
    broken = Image(image.config, image.metadata, image.program[:-1])
    with pytest.raises(ImageError, match="Section at word"):
        Image.from_bytes(broken.to_bytes())


def test_absent_file_and_folder_are_errors(image, tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        Image.load(tmp_path / "none.xlm")
    with pytest.raises(ImageError, match="cannot be written"):
        image.save(tmp_path / "none" / "net.xlm")


def test_failed_save_keeps_the_old_file(image, tmp_path):
    image.save(tmp_path / "net.xlm")
    before = (tmp_path / "net.xlm").read_bytes()
    broken = Image(image.config, {**image.metadata, "info": {"x": object()}}, image.program)
    with pytest.raises(TypeError, match="Image metadata must be plain values, not object"):
        broken.save(tmp_path / "net.xlm")
    assert (tmp_path / "net.xlm").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.xlm"]
