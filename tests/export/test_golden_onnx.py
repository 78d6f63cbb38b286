"""Golden networks as ONNX: onnxruntime's maps against those of the paper's code."""
from dataclasses import replace

import numpy as np
import pytest

from centernet.export.publish import export_model
from centernet.runtimes import onnx_session
from tests.export.tiny_onnx import ask, deformable, kinds
from tests.golden_weights import golden_network

pytestmark = pytest.mark.usefixtures("layer_by_layer")


# The share of the map's largest value by which onnxruntime's may differ from the paper's code; see
# tests/models/test_golden_networks.py on those of 50 layers.
GOLDEN = {"res_18": 1e-4, "resdcn_18": 1e-4, "dlav0_34": 1e-4, "mmdet_r18": 1e-4, "res_50": 3e-4, "resdcn_50": 1e-3,
          "dla_34": 1e-4, "hourglass": 1e-4}
QUICK = ("resdcn_18",)  # the others are compared without ONNX in tests/models/test_golden_networks.py
FORMS = {"resdcn_18": ("native", "gather"), "resdcn_50": ("native", "gather"), "dla_34": ("native", "gather")}
CASES = [pytest.param(arch, form, marks=[deformable] * (form == "native")
                      + [pytest.mark.slow] * (arch not in QUICK or form == "gather"))
         for arch in GOLDEN for form in FORMS.get(arch, ("none",))]


@pytest.mark.parametrize(("arch", "form"), CASES)
def test_golden_networks_as_onnx(tmp_path, golden, arch, form):
    expected = golden(arch)
    network = golden_network(arch)
    _, tiny = ask(tmp_path, "--export_decode", "false")
    manifest = replace(tiny, input_shape=expected["x"].shape, deform=form)
    path = tmp_path / "golden.onnx"
    export_model(network, manifest, path)
    assert not kinds(path)[1]["BatchNormalization"]
    for name, found in zip(("hm", "wh", "reg"), onnx_session.load_onnx(path)(expected["x"])):
        error = np.abs(found - expected[name]).max() / np.abs(expected[name]).max()
        print(f"{arch} {form} {name}: {error:.1e}")
        assert error <= GOLDEN[arch], name
