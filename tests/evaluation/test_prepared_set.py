"""Files that connect the programs: types of inputs, and outputs of programs of others."""
import re
from dataclasses import replace

import numpy as np
import pytest
from tiny_model import CATEGORIES

from centernet.detection.decode import decode, sigmoid
from centernet.detection.transform import Meta
from centernet.errors import UserError
from centernet.evaluation.prepared_set import read_detections, read_index, read_input, run_prepared, write_prepared
from centernet.owner import OWNER, owned
from centernet.runtimes.manifest import Manifest
from centernet.spec import ModelSpec

META = Meta((48.0, 32.0), 96.0, 16, 24)


@pytest.fixture
def manifest():
    spec = ModelSpec(CATEGORIES, (0.1, 0.2, 0.3), (0.3, 0.2, 0.1), "RGB", 4, (64, 96))
    return Manifest("x", (2, 3, 64, 96), spec, 20, True, False, False, (("detections", (2, 20, 6)),), "",
                    "0", {}, "none")


def prepare(folder, manifest, pixels):
    write_prepared(folder, [(7, "a.jpg", manifest.spec.model_input(pixels), META)], manifest, folder / "labels.json")


def test_uint8_images_take_a_quarter_of_the_bytes_and_come_back(tmp_path, manifest):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    raw = manifest.with_uint8_input()
    prepare(tmp_path / "float32", manifest, pixels)
    prepare(tmp_path / "uint8", raw, pixels)
    planes, image = (tmp_path / name / "00_data/7.bin" for name in ("float32", "uint8"))
    assert image.read_bytes() == pixels.tobytes() and planes.stat().st_size == 4 * image.stat().st_size
    np.testing.assert_array_equal(read_input(tmp_path / "uint8", 7, raw), pixels)
    np.testing.assert_array_equal(read_input(tmp_path / "float32", 7, manifest), manifest.spec.normalize(pixels))
    assert read_index(tmp_path / "uint8", raw, "--meta_path").names == {7: "a.jpg"}
    with pytest.raises(UserError, match=r"7.bin has 18432 bytes, float32 of shape \(3, 64, 96\) has 73728"):
        read_input(tmp_path / "uint8", 7, manifest)


def test_a_set_for_aipp_is_for_postprocess_only(tmp_path, manifest):
    prepare(tmp_path, manifest.with_uint8_input(), np.zeros((64, 96, 3), np.uint8))
    assert read_index(tmp_path, manifest, "--meta_path", aipp=True).names == {7: "a.jpg"}
    with pytest.raises(UserError, match=r"shape is \[64, 96, 3\], but the model needs \[3, 64, 96\], dtype is uint8"):
        read_index(tmp_path, manifest, "--meta_path")
    other = replace(manifest, spec=replace(manifest.spec, mean=(0.5, 0.2, 0.3)))
    with pytest.raises(UserError, match="another model: mean is"):
        read_index(tmp_path, other, "--meta_path", aipp=True)


@pytest.mark.parametrize("folder, message", [("nope", "there is no such folder"), (".", "index.json is missing")])
def test_a_folder_that_is_no_prepared_set(tmp_path, manifest, folder, message):
    place = tmp_path / folder
    with pytest.raises(UserError, match=f"--meta_path {re.escape(str(place))}: {message}. .* writes index.json last"):
        read_index(place, manifest, "--meta_path")


@pytest.mark.parametrize("name", ["7_{}.bin", "7_output_{}.bin"], ids=["ais_bench", "msame"])
def test_outputs_of_other_programs_are_read(tmp_path, manifest, name):
    rows = np.random.default_rng(0).random((20, 6)).astype("<f4")
    rows[:, 5] = 1
    rows.tofile(tmp_path / name.format(0))
    np.testing.assert_array_equal(read_detections(tmp_path, 7, manifest), rows)


@pytest.mark.parametrize("name", ["7_{}.bin", "7_output_{}.bin"], ids=["ais_bench", "msame"])
@pytest.mark.parametrize("offset", [True, False])
def test_maps_of_other_programs_are_decoded(tmp_path, manifest, name, offset):
    shapes = ((3, 16, 24), (2, 16, 24), (2, 16, 24))[:3 if offset else 2]
    maps = [np.random.default_rng(1).standard_normal(shape).astype("<f4") for shape in shapes]
    for number, values in enumerate(maps):
        values.tofile(tmp_path / name.format(number))
    described = replace(manifest, decode=False, outputs=tuple(
        (name, (2, *shape)) for name, shape in zip(("hm", "wh", "reg"), shapes)))
    hm, wh, *reg = (values[None] for values in maps)
    np.testing.assert_array_equal(read_detections(tmp_path, 7, described),
                                  decode(sigmoid(hm), wh, reg[0] if reg else None, 20)[0])
    (tmp_path / name.format(len(maps) - 1)).write_bytes(b"")
    with pytest.raises(UserError, match=r"has 0 bytes, float32 of shape \(2, 16, 24\)"):
        read_detections(tmp_path, 7, described)


class Fake:
    """An exported model without decoding, whose runtime decodes."""

    def __init__(self, manifest):
        self.manifest = manifest

    def __call__(self, images):
        return np.tile(np.arange(6, dtype=np.float32) % 3, (len(images), 20, 1))


def test_a_new_run_leaves_no_maps_of_an_earlier_one(tmp_path, manifest):
    """Maps beside the new file would make postprocess.py take it for a map, too."""
    maps = replace(manifest, decode=False, outputs=(("hm", (2, 3, 16, 24)), ("wh", (2, 2, 16, 24)),
                                                    ("reg", (2, 2, 16, 24))))
    prepare(tmp_path / "pre", maps, np.zeros((64, 96, 3), np.uint8))
    results = tmp_path / "results"
    results.mkdir()
    for number, (_, shape) in enumerate(maps.outputs):
        (results / f"7_{number}.bin").write_bytes(np.zeros(shape[1:], np.float32).tobytes())
    run_prepared(Fake(maps), tmp_path / "pre", results)
    assert [path.name for path in results.iterdir()] == ["7_0.bin"]
    assert read_detections(results, 7, maps).shape == (20, 6)


@pytest.mark.fault("NaN in prepared images", "a .bin file with NaN or infinity", "refused with the name of the file")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_the_file(tmp_path, manifest, value):
    prepare(tmp_path / "pre", manifest, np.zeros((64, 96, 3), np.uint8))
    path = tmp_path / "pre/00_data/7.bin"
    planes = np.fromfile(path, "<f4")
    planes[1234] = value
    planes.tofile(path)
    with pytest.raises(UserError, match=rf"00_data/7.bin: 1 of 18432 values are .*\(value 1234 is {value}\)"):
        run_prepared(Fake(manifest), tmp_path / "pre", tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())
    rows = np.ones((20, 6), "<f4")
    rows[3, 2] = value
    rows.tofile(tmp_path / "7_0.bin")
    with pytest.raises(UserError, match=rf"7_0.bin: 1 of 120 values are .*\(value 20 is {value}\)"):
        read_detections(tmp_path, 7, manifest)


@pytest.mark.fault("NaN in the maps of a model", "a file of maps with NaN", "refused with the name of the file")
def test_maps_that_are_not_finite_are_refused(tmp_path, manifest):
    shapes = ((3, 16, 24), (2, 16, 24))
    for number, shape in enumerate(shapes):
        np.full(shape, np.nan if number else 0, "<f4").tofile(tmp_path / f"7_{number}.bin")
    described = replace(manifest, decode=False, outputs=tuple((name, (2, *shape))
                                                              for name, shape in zip(("hm", "wh"), shapes)))
    with pytest.raises(UserError, match="7_1.bin: 768 of 768 values are NaN"):
        read_detections(tmp_path, 7, described)


@pytest.mark.fault("a model that gives NaN", "an output with NaN", "refused, no result is written")
def test_an_output_that_is_not_finite_is_not_written(tmp_path, manifest):
    class Diverged(Fake):
        def __call__(self, images):
            return super().__call__(images) * np.float32(np.nan)
    prepare(tmp_path / "pre", manifest, np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(UserError, match="the model's output for image 7: 120 of 120 values are NaN"):
        run_prepared(Diverged(manifest), tmp_path / "pre", tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())


def test_one_run_at_a_time_writes_a_model_s_output(tmp_path, manifest):
    prepare(tmp_path / "pre", manifest, np.zeros((64, 96, 3), np.uint8))
    run_prepared(Fake(manifest), tmp_path / "pre", tmp_path / "results")
    before = (tmp_path / "results/7_0.bin").read_bytes()
    with owned(tmp_path / "results", "--result_path", f".infer{OWNER}"), \
            pytest.raises(UserError, match="--result_path .*results: process .* writes to this folder since"):
        run_prepared(Fake(manifest), tmp_path / "pre", tmp_path / "results")
    assert (tmp_path / "results/7_0.bin").read_bytes() == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["7_0.bin"]
