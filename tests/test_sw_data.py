"""Data sets: the digits, and files of every format that these tests write themselves."""

import gzip
import struct

import numpy as np
import pytest

from xnorloom.sw import data

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def test_digits_are_split_once_and_for_all():
    digits, again = data.load("digits"), data.load("digits")
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.dtype == np.float32 and digits.test_labels.dtype == np.int64
    np.testing.assert_array_equal(digits.test_images, again.test_images)
    counts = np.bincount(digits.test_labels, minlength=10)
    everything = counts + np.bincount(digits.train_labels, minlength=10)
    assert np.abs(counts - everything * 360 / 1797).max() < 1
    seen = {image.tobytes() for image in digits.train_images}
    assert not any(image.tobytes() in seen for image in digits.test_images)


def test_pixels_fit_their_bits():
    digits = data.load("digits")
    codes = digits.test_images / digits.info.input_step
    np.testing.assert_array_equal(codes, np.rint(codes))
    assert codes.min() == 0 and codes.max() == 16 < 2 ** digits.info.input_bits


@pytest.mark.parametrize("name, message", [
    ("digit", "Data set must be a known name, not 'digit', did you mean 'digits'?"),
    ("words", f"Data set must be a known name, not 'words'; known: {', '.join(data.SPELLINGS)}"),
    ("minst:/x", "Data set must be a known name, not 'minst:/x', did you mean 'mnist'?"),
    ("digits:/x", "Data set 'digits' is built in and takes no path, not 'digits:/x'"),
    ("mnist", "Data set 'mnist' must be given with its folder, as 'mnist:PATH'"),
    ("cifar10:", "Data set 'cifar10' must be given with its folder, as 'cifar10:PATH'"),
    ("mnist:/no/it", "Data set 'mnist:/no/it' must have folder '/no/it', which does not exist"),
])
def test_names_that_are_none(name, message):
    for read in (data.load, data.info):
        with pytest.raises(data.DataError) as caught:
            read(name)
        assert str(caught.value) == message


def test_a_description_is_its_own():
    assert data.info(data.info("digits")) is data.info("digits")


def refused(name, message, *, info_too=False):
    for read in (data.load, data.info) if info_too else (data.load,):
        with pytest.raises(data.DataError, match=message) as caught:
            read(name)
        assert "\n" not in str(caught.value)


# MNIST

def idx(values):
    values = np.asarray(values, dtype=np.uint8)
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return header + values.tobytes()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4))


def write_mnist(folder, pixels, pack=False):
    parts = {"train": (pixels[:4], [3, 0, 9, 1]), "t10k": (pixels[4:], [2, 2, 7])}
    for part, (images, labels) in parts.items():
        for name, values in ((f"{part}-images-idx3-ubyte", images),
                             (f"{part}-labels-idx1-ubyte", labels)):
            if pack:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                (folder / name).write_bytes(idx(values))
    return f"mnist:{folder}"


@pytest.mark.parametrize("pack", [False, True])
def test_mnist(tmp_path, pixels, pack):
    name = write_mnist(tmp_path, pixels, pack)
    found = data.load(name)
    assert found.info == data.info(name) == data.DataInfo(name, (1, 5, 4), 10, 8, 1 / 255)
    assert found.train_images.dtype == np.float32 and found.train_labels.dtype == np.int64
    np.testing.assert_array_equal(np.rint(found.train_images[:, 0] * 255), pixels[:4])
    np.testing.assert_array_equal(np.rint(found.test_images[:, 0] * 255), pixels[4:])
    assert found.train_labels.tolist() == [3, 0, 9, 1] and found.test_labels.tolist() == [2, 2, 7]


@pytest.mark.parametrize("file, content, message", [
    (IMAGES, None, "must have file 'train-images-idx3-ubyte' .or .*gz. in folder"),
    (LABELS, None, "must have file 'train-labels-idx1-ubyte'"),
    (IMAGES, b"", "train-images.* must start with 00000803, .* not with nothing"),
    (IMAGES, b"\x89PNG1234", "must start with 00000803, as an IDX file .* not with 89504e47"),
    (LABELS, idx(np.zeros((4, 1, 1))), "must start with 00000801, .* not with 00000803"),
    (IMAGES, idx(np.zeros((4, 5, 4)))[:10], "must have a header of 16 bytes, not 10"),
    (IMAGES, idx(np.zeros((4, 5, 4)))[:-1], r"must hold 80 values for its sizes \(4.*\), not 79"),
    (IMAGES, idx(np.zeros((4, 5, 4))) + b"x", "must hold 80 values .* not 81"),
    (IMAGES, idx(np.zeros((0, 5, 4))), "must not be empty, but has sizes"),
    (LABELS, idx([1, 2, 3]), "must hold a label for each of 4 images, not 3"),
    (LABELS, idx([1, 2, 3, 10]), "labels must be below 10, not 10"),
    ("t10k-images-idx3-ubyte", idx(np.zeros((3, 6, 4))),
     r"must hold images of \(5, 4\) pixels, as those for training, not \(6, 4\)"),
])
def test_mnist_files_that_are_wrong(tmp_path, pixels, file, content, message):
    name = write_mnist(tmp_path, pixels)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    refused(name, message)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: packed[2:],
                                    lambda packed: packed[:20] + b"\xff" * 20 + packed[40:]])
def test_packed_files_that_are_damaged(tmp_path, pixels, damage):
    name = write_mnist(tmp_path, pixels, pack=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    refused(name, "train-images-idx3-ubyte.gz' must be a whole gzip file, and is damaged")


def test_a_folder_in_place_of_a_file(tmp_path, pixels):
    name = write_mnist(tmp_path, pixels)
    (tmp_path / IMAGES).unlink()
    (tmp_path / IMAGES).mkdir()
    refused(name, "train-images-idx3-ubyte' cannot be read: Is a directory", info_too=True)


# CIFAR-10

def write_cifar(folder, per_file=2):
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    records = []
    for name in names:
        labels = rng.integers(0, 10, (per_file, 1))
        content = np.concatenate([labels, rng.integers(0, 256, (per_file, 3072))], axis=1)
        (folder / name).write_bytes(content.astype(np.uint8).tobytes())
        records.append(content)
    return f"cifar10:{folder}", np.concatenate(records)


def test_cifar10(tmp_path):
    name, records = write_cifar(tmp_path)
    found = data.load(name)
    assert found.info == data.info(name) == data.DataInfo(name, (3, 32, 32), 10, 8, 1 / 255)
    images = np.concatenate([found.train_images, found.test_images])
    assert found.train_images.shape == (10, 3, 32, 32) and found.test_images.shape[0] == 2
    np.testing.assert_array_equal(np.rint(images * 255).reshape(12, -1), records[:, 1:])
    assert [*found.train_labels, *found.test_labels] == records[:, 0].tolist()


@pytest.mark.parametrize("file", ["data_batch_4.bin", "test_batch.bin"])
@pytest.mark.parametrize("content, message", [
    (None, "must have file '{}' in folder"), (b"", "{}' must hold records of 3073 bytes, not 0 b"),
    (bytes(3072), "{}' must hold records of 3073 bytes, not 3072 bytes"),
    (b"\x0a" + bytes(3072), "{}' labels must be below 10, not 10")])
def test_cifar10_files_that_are_wrong(tmp_path, file, content, message):
    name, _records = write_cifar(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    refused(name, message.format(file))


# Folders of pictures

Image = pytest.importorskip("PIL.Image", reason="pip install pillow")


def write_pictures(folder, mode="RGB", size=(4, 3)):
    rng = np.random.default_rng(0)
    pictures = {}
    for part, each, count in (("train", "cat", 2), ("train", "ant", 1), ("test", "ant", 1),
                              ("test", "cat", 1)):
        (folder / part / each).mkdir(parents=True)
        for number in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = rng.integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / part / each / f"{number}.png")
            pictures.setdefault(part, []).append((each, number, pixels))
    return f"folder:{folder}", pictures


@pytest.mark.parametrize("mode, channels", [("RGB", 3), ("L", 1)])
def test_folder(tmp_path, mode, channels):
    name, pictures = write_pictures(tmp_path, mode)
    found = data.load(name)
    assert found.info == data.info(name) == data.DataInfo(name, (channels, 3, 4), 2, 8, 1 / 255)
    assert found.train_labels.tolist() == [0, 1, 1] and found.test_labels.tolist() == [0, 1]
    for images, part in ((found.train_images, "train"), (found.test_images, "test")):
        ordered = sorted(pictures[part], key=lambda picture: picture[:2])
        wanted = [pixels for _class, _number, pixels in ordered]
        pixels = np.rint(images * 255).transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(pixels.reshape(np.shape(wanted)), wanted)


@pytest.mark.parametrize("mode, channels", [("P", 3), ("RGBA", 3), ("LA", 1), ("1", 1)])
def test_other_pictures_of_8_bits_are_converted(tmp_path, mode, channels):
    name, _pictures = write_pictures(tmp_path)
    for path in tmp_path.rglob("*.png"):
        Image.open(path).convert(mode).save(path)
    assert data.load(name).train_images.shape == (3, channels, 3, 4)


def test_folders_that_are_wrong(tmp_path):
    name, _pictures = write_pictures(tmp_path)
    extra = tmp_path / "train" / "bee"
    extra.mkdir()
    refused(name, r"Folder '.*bee' must hold pictures \*.png, and holds none", info_too=True)
    Image.new("RGB", (4, 3)).save(extra / "0.png")
    refused(name, r"Folder '.*test' must have a folder for each class \(ant, bee, cat\), not "
                  "ant, cat")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    refused(f"folder:{tmp_path / 'empty'}", r"must have a folder for each class \(at least one\), "
                                            "not none", info_too=True)


@pytest.mark.parametrize("picture, message", [
    (Image.new("RGB", (4, 4)),
     r"'.*1.png' must have the shape of the first picture, \(3, 3, 4\) .*, not \(3, 4, 4\)"),
    (Image.new("L", (4, 3)), r"must have the shape of the first picture, .* not \(1, 3, 4\)"),
    (Image.new("I;16", (4, 3)), "must be a picture of 8 bits, grey or colour, not of mode I;16"),
    (b"not a picture", "must be a PNG picture, and is not"),
    (None, "1.png' cannot be read: .*truncated"),
])
def test_pictures_that_are_wrong(tmp_path, picture, message):
    name, _pictures = write_pictures(tmp_path)
    path = tmp_path / "train" / "cat" / "1.png"
    if picture is None:
        whole = path.read_bytes()
        path.write_bytes(whole[:len(whole) // 2])
    elif isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.save(path)
    refused(name, message)
