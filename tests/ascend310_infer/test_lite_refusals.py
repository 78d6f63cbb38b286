"""What the C++ program on the real runtime refuses: damaged images, models and manifests."""
import mindspore as ms
import pytest
from tiny_model import read_config, tiny_checkpoint, tiny_config

from tests.ascend310_infer.runs import detections, run
from tools import export_mindir_lite20


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.unlink(), "104.bin: No such file"),
    (lambda path: path.write_bytes(path.read_bytes()[:-4]), "104.bin has 147452 bytes, float32 of shape (3, 96, 128)"),
    (lambda path: path.write_bytes(b""), "104.bin has 0 bytes"),
])
def test_a_bad_input_is_found_before_the_run(program, copy, damage, message):
    before = detections(copy / "cpp/result_Files")
    damage(copy / "pre/00_data/104.bin")
    assert message in program.fails(2, model_path=copy / "model.mindir", input_path=copy / "pre",
                                    output_path=copy / "cpp", device_target="CPU")
    assert detections(copy / "cpp/result_Files").keys() == before.keys()


def test_an_image_that_fails_leaves_whole_results_of_the_ones_before(program, copy):
    pictures, out = copy / "coco/val2017", copy / "jpeg"
    run(program, copy, pictures, out)
    (pictures / "000004.jpg").write_bytes((pictures / "000004.jpg").read_bytes()[:-50])
    assert "000004.jpg is cut off" in program.fails(2, model_path=copy / "model.mindir", input_path=pictures,
                                                    output_path=out, device_target="CPU")
    # Nothing of the first run completes what the second could not finish.
    assert sorted(detections(out / "result_Files")) == ["0_0.bin", "1_0.bin", "2_0.bin", "3_0.bin"]
    assert not (out / "time_Result/test_perform_result.txt").exists() and not (out / "meta/index.json").exists()


def test_nonsense_out_of_the_model_is_not_written(program, copy, edit_manifest):
    edit_manifest(copy / "model.mindir", lambda values: values["categories"].pop())
    message = program.fails(1, model_path=copy / "model.mindir", input_path=copy / "pre", output_path=copy / "out",
                            device_target="CPU")
    assert "100.bin" in message and "classes that it does not know" in message
    assert not list((copy / "out/result_Files").iterdir())


@pytest.mark.parametrize("damage", [lambda data: data[:len(data) // 2], lambda data: data[:-1],
                                    lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]])
def test_damaged_models_are_caught_by_their_checksum(program, copy, damage):
    model = copy / "model.mindir"
    model.write_bytes(damage(model.read_bytes()))
    assert "is not the file that was exported" in program.fails(2, model_path=model, input_path=copy / "pre",
                                                                output_path=copy / "out", device_target="CPU")


def test_a_truncated_model_with_a_fitting_checksum_is_refused_by_the_runtime(program, work, fake_model, tmp_path):
    model = fake_model((work / "model.mindir").read_bytes()[:50000])
    assert "cannot build" in program.fails(1, model_path=model, input_path=work / "pre", output_path=tmp_path,
                                           device_target="CPU")


def test_a_newer_file_than_the_runtime_is_explained(program, work, tmp_path):
    message = program.fails(1, model_path=work / "new.mindir", input_path=work / "pre", output_path=tmp_path,
                            device_target="CPU")
    assert f"written by MindSpore {ms.__version__}" in message and "export_mindir_lite20.sh" in message


def test_a_manifest_of_another_size_is_refused(program, copy, edit_manifest):
    edit_manifest(copy / "model.mindir", lambda values: values["input"].update(shape=[2, 3, 96, 96]))
    message = program.fails(1, model_path=copy / "model.mindir", input_path=copy / "coco/val2017",
                            output_path=copy / "out", device_target="CPU")
    assert "input is not the one that its manifest describes" in message


def test_the_framework_s_deformable_operator_is_refused(tmp_path, capsys):
    """It is not in Lite."""
    path = tiny_config(tmp_path, neck="deform")
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    assert export_mindir_lite20.main(["--config_path", str(path), "--export_load_ckpt", str(tmp_path / "net.ckpt"),
                                      "--input_res", "96", "128", "--export_name", str(tmp_path / "model")]) == 2
    assert "add --export_deform gather" in capsys.readouterr().err
