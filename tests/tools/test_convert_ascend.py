"""The commands that convert for Ascend, with a converter that only writes what it got."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import read_config, tiny_checkpoint, tiny_config, tiny_manifest

from centernet.files import sha256
from centernet.runtimes.manifest import manifest_path, read_manifest, write_manifest
from tools import convert_lite_ascend, convert_om

ROOT = Path(__file__).parents[2]
# Writes its words to the file that the word {flag}=PATH names, with a suffix.
CONVERTER = """#!/usr/bin/env bash
for word in "$@"; do
    [[ $word != {flag}=* ]] || printf '%s\\n' "$@" >"${{word#*=}}{suffix}"
done
exit {status}
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Makes a converter, first in PATH: tool("atc", "--output", ".om")."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("MS_LITE_HOME", raising=False)
    monkeypatch.delenv("LITE_HOME", raising=False)

    def make(name, flag, suffix, status=0, folder="bin"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONVERTER.format(flag=flag, suffix=suffix, status=status))
        path.chmod(0o755)
    return make


def onnx_package():
    return pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")


def model(path, operator_set=17, **changes):
    """A model with a manifest; an ONNX file holds nothing but its operator set."""
    if path.suffix == ".onnx":
        onnx = onnx_package()
        value = onnx.helper.make_tensor_value_info("y", 1, [1])
        graph = onnx.helper.make_graph([], "graph", [], [value])
        path.write_bytes(onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", operator_set)]).SerializeToString())
    else:
        path.write_bytes(b"a graph")
    described = {"sha256": sha256(path), "mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3), **changes}
    write_manifest(tiny_manifest((64, 96), **described), manifest_path(path))
    return path


def test_a_mindir_is_converted_and_gets_its_manifest(tmp_path, tool, capfd):
    tool("converter_lite", "--outputFile", ".mindir")
    source = model(tmp_path / "a model.mindir")
    assert convert_lite_ascend.main([str(source), "Ascend310P3", "--aoe", "subgraph tuning"]) == 0
    target = tmp_path / "a model_ascend310p3.mindir"
    words = target.read_text().splitlines()
    config = tmp_path / "a model_ascend310p3.converter.cfg"
    assert {f"--modelFile={source}", f"--configFile={config}", "--inputShape=x:1,3,64,96"} <= set(words)
    assert "aoe_mode=subgraph tuning" in config.read_text()
    described = read_manifest(target)  # checks the SHA-256
    assert described.spec == read_manifest(source).spec and described.sha256 != read_manifest(source).sha256
    assert f"converted {target}" in capfd.readouterr().out
    assert not list(tmp_path.glob(".convert-*"))


def test_a_name_with_a_dot_keeps_all_its_parts(tmp_path, tool, capsys):
    tool("converter_lite", "--outputFile", ".mindir")
    source = model(tmp_path / "net.v2.mindir")
    assert convert_lite_ascend.main([str(source), "Ascend310"]) == 0 and (tmp_path / "net.v2_ascend310.mindir").exists()
    assert convert_lite_ascend.main([str(source), "--output", str(tmp_path / "out.v2")]) == 0
    assert {path.name for path in tmp_path.glob("*.mindir")} == {"net.v2.mindir", "net.v2_ascend310.mindir",
                                                                 "out.v2.mindir"}
    (tmp_path / "link.mindir").symlink_to(source)
    assert convert_lite_ascend.main([str(source), "--output", str(tmp_path / "link.mindir")]) == 2
    assert "is the model itself" in capsys.readouterr().err and source.read_bytes() == b"a graph"


def test_the_converter_of_an_unpacked_archive_finds_its_libraries(tmp_path, tool):
    tool("converter_lite", "--outputFile", ".mindir", folder="lite/tools/converter/converter")
    found, environment = convert_lite_ascend.find_converter(
        {"PATH": "", "MS_LITE_HOME": str(tmp_path / "lite"), "LD_LIBRARY_PATH": "/cann"})
    assert found == str(tmp_path / "lite/tools/converter/converter/converter_lite")
    assert environment["LD_LIBRARY_PATH"] == f"{tmp_path}/lite/tools/converter/lib:/cann"


def test_a_converter_in_the_current_folder_is_not_taken(tmp_path, tool, monkeypatch):
    tool("converter_lite", "--outputFile", ".mindir", folder="tools/converter/converter")
    monkeypatch.chdir(tmp_path)
    assert convert_lite_ascend.find_converter({"PATH": ""})[0] == ""


@pytest.mark.fault("no converter_lite on this host", "a PATH without it",
                   "the message says to run the script where it is, because the script also writes the manifest")
def test_without_converter_lite_the_message_says_where_it_is(tmp_path, tool, capsys):
    assert convert_lite_ascend.main([str(model(tmp_path / "m.mindir"))]) == 2
    message = capsys.readouterr().err
    assert "there is no converter_lite" in message and "MS_LITE_HOME" in message
    assert f"run scripts/convert_lite_ascend.sh there, with {tmp_path}/m.mindir and m.json: it also writes" in message
    assert "--fmk" not in message  # that command alone makes a file without a manifest
    assert (tmp_path / "m_ascend.converter.cfg").is_file() and not (tmp_path / "m_ascend.mindir").exists()


@pytest.mark.parametrize("status, suffix", [(1, ".mindir"), (0, ".other")])
def test_a_converter_that_fails_leaves_no_model(tmp_path, tool, capsys, status, suffix):
    tool("converter_lite", "--outputFile", suffix, status)
    assert convert_lite_ascend.main([str(model(tmp_path / "m.mindir"))]) == 2
    assert f"converter_lite failed (exit status {status})" in capsys.readouterr().err
    assert not (tmp_path / "m_ascend.mindir").exists() and not (tmp_path / "m_ascend.json").exists()


@pytest.mark.parametrize("words, message", [
    (["m.onnx"], "must be a .mindir"), (["none.mindir"], "no such file"), (["m.mindir", "310P3"], "npu-smi info"),
    (["m.mindir", "--output", "m"], "is the model itself")])
def test_wrong_arguments_for_converter_lite(tmp_path, tool, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "m.mindir")
    assert convert_lite_ascend.main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("tool, words, message", [
    (convert_lite_ascend, [""], "MODEL is empty: give a value"),
    (convert_lite_ascend, ["m.mindir", ""], "SOC is empty: give a value"),
    (convert_lite_ascend, ["''"], "MODEL is empty: give a value"),
    (convert_lite_ascend, ["m.mindir", "--output", " "], "--output is empty: give a value, or leave the flag out"),
    (convert_om, ["", "Ascend310"], "MODEL is empty: give a value"),
    (convert_om, ["m.onnx", ""], "SOC is empty: give a value"),
    (convert_om, ["m.onnx", "Ascend310", "--output="], "--output is empty: give a value, or leave the flag out"),
    (convert_om, ["m.onnx", "Ascend310", "--checkpoint", ""], "--checkpoint is empty: give a value, or leave the flag "
                                                              "out")])
def test_an_empty_argument_is_an_error(tmp_path, capsys, monkeypatch, tool, words, message):
    monkeypatch.chdir(tmp_path)
    assert tool.main(words) == 2
    assert capsys.readouterr().err == f"error: {message}\n" and not list(tmp_path.iterdir())


def test_an_onnx_file_is_converted_with_aipp(tmp_path, tool, capfd):
    tool("atc", "--output", ".om")
    source = model(tmp_path / "m.onnx")
    assert convert_om.main([str(source), "Ascend310P3", "--aipp"]) == 0
    words = (tmp_path / "m_ascend310p3.om").read_text().splitlines()
    assert {f"--model={source}", "--soc_version=Ascend310P3", f"--insert_op_conf={tmp_path}/m.aipp.cfg"} <= set(words)
    assert "min_chn_0: 102" in (tmp_path / "m.aipp.cfg").read_text()
    assert convert_om.main([str(source), "Ascend310"]) == 0
    assert "insert_op_conf" not in (tmp_path / "m_ascend310.om").read_text()
    assert "operator set 17" in capfd.readouterr().out


def test_without_atc_the_other_files_are_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert convert_om.main([str(model(tmp_path / "m.onnx")), "Ascend310B4", "--aipp"]) == 2
    message = capsys.readouterr().err
    assert "there is no atc" in message and "set_env.sh" in message
    assert f"m.onnx, {tmp_path}/m.aipp.cfg. The command is: atc --framework=5" in message
    assert (tmp_path / "m.aipp.cfg").is_file() and not list(tmp_path.glob("*.om"))


@pytest.mark.parametrize("words, changes, message", [
    (["m.onnx", "Ascend310"], {"operator_set": 18}, "operator set is 18"),
    (["m.onnx", "Ascend310"], {"input_shape": (0, 3, 64, 96)}, "no fixed batch size"),
    (["m.onnx", "310"], {}, "npu-smi info"),
    (["m.mindir", "Ascend310"], {}, "must be a checkpoint"),
    (["m.onnx", "Ascend310", "--ouput", "x"], {}, "--ouput x: unknown flags"),
    (["m.onnx", "Ascend310", "--output", "/dev/null/x"], {}, "/dev/null/x"),
    (["m.ckpt", "Ascend310", "--checkpoint", "m.ckpt"], {}, "already the checkpoint"),
    (["m.onnx", "Ascend310"], {"sha256": "0"}, "is not the file that was exported")])
def test_wrong_arguments_for_atc(tmp_path, tool, capsys, monkeypatch, words, changes, message):
    monkeypatch.chdir(tmp_path)
    tool("atc", "--output", ".om")
    model(tmp_path / "m.onnx", **changes)
    assert convert_om.main(words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.om"))


def test_a_model_that_normalises_gets_no_aipp(tmp_path, tool, capsys):
    tool("atc", "--output", ".om")
    source = model(tmp_path / "m.onnx")
    write_manifest(read_manifest(source).with_uint8_input(), manifest_path(source))
    assert convert_om.main([str(source), "Ascend310", "--aipp"]) == 2
    assert "it needs no AIPP" in capsys.readouterr().err and not list(tmp_path.glob("*.om"))
    assert convert_om.main([str(source), "Ascend310"]) == 0
    assert "--input_format=ND" in (tmp_path / "m_ascend310.om").read_text()
    assert not (tmp_path / "m.aipp.cfg").exists()
    assert convert_om.main([str(source), "Ascend310", "--output", str(tmp_path / "new/folder/n")]) == 0
    assert (tmp_path / "new/folder/n_ascend310.om").is_file()


def test_atc_that_fails_leaves_no_om(tmp_path, tool, capsys):
    tool("atc", "--output", ".om", status=1)
    assert convert_om.main([str(model(tmp_path / "m.onnx")), "Ascend310"]) == 2
    assert "atc failed (exit status 1)" in capsys.readouterr().err and not list(tmp_path.glob("*.om"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_deformable_checkpoint_becomes_an_onnx_file_that_atc_reads(tmp_path, tool, kind):
    tool("atc", "--output", ".om")
    path = tiny_config(tmp_path, neck="deform")
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    words = ["bash", ROOT / "scripts/convert_om.sh", "net.ckpt", "Ascend310P3", "--output", "out", "--config_path",
             path, "--export_input", kind]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
    loaded = onnx_package().load(str(tmp_path / "out.onnx"))
    assert [entry.version for entry in loaded.opset_import] == [17]
    assert "DeformConv" not in {node.op_type for node in loaded.graph.node}
    compared = re.search(r"detections in 4 images: (\S+) \(boxes of (\d+) of 80 ", done.stdout)
    assert float(compared[1]) <= 1e-4 and int(compared[2]) >= 40
    command = (tmp_path / "out_ascend310p3.om").read_text()
    assert ("image:1,64,64,3" if kind == "uint8" else "image:1,3,64,64") in command
    assert (tmp_path / "out.aipp.cfg").exists() == (kind == "float32")


@pytest.mark.slow
def test_another_checkpoint_is_not_converted(tmp_path, tool, capsys):
    tool("atc", "--output", ".om")
    path = tiny_config(tmp_path)
    network = tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    flags = ["--output", str(tmp_path / "out"), "--config_path", str(path)]
    assert convert_om.main([str(tmp_path / "net.ckpt"), "Ascend310", *flags]) == 0
    (tmp_path / "out_ascend310.om").unlink()
    import mindspore as ms
    weight = network.heads.hm[-1].weight
    weight.set_data(weight + 0.01)
    ms.save_checkpoint(network, str(tmp_path / "other.ckpt"))
    flags += ["--dataset_config.coco_classes", "a", "b", "c", "--dataset_config.num_classes", "3"]
    assert convert_om.main([str(tmp_path / "out.onnx"), "Ascend310", "--checkpoint", str(tmp_path / "other.ckpt"),
                            *flags]) == 2
    assert "its detections differ from those of" in capsys.readouterr().err
    assert not (tmp_path / "out_ascend310.om").exists()
    assert json.loads((tmp_path / "out.onnx.json").read_text())["deform"] == "none"
