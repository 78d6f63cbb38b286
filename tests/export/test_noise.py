"""An export's difference is judged beside the network's own rounding noise."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from centernet.errors import UserError
from centernet.export import publish
from centernet.export.noise import rounding_noise
from centernet.export.publish import export_model, judge
from centernet.runtimes.exported import load_graph
from tests.export.test_mindir import make

pytestmark = pytest.mark.usefixtures("layer_by_layer")


def test_noise_is_that_of_a_rounding_and_weights_stay():
    layer = nn.Dense(4, 3)
    x, before = ms.Tensor(np.ones((2, 4), np.float32)), layer.weight.asnumpy().copy()
    expected = layer(x).asnumpy()
    noise = rounding_noise(layer, lambda: [layer(x).asnumpy()], lambda found: float(np.abs(found[0] - expected).max()))
    assert 0 < noise < 1e-6
    np.testing.assert_array_equal(layer.weight.asnumpy(), before)


@pytest.mark.parametrize("error, tolerance, words", [
    (2e-3, 1e-3, r"differs from the checkpoint's by 2.00e-03 \(allowed: 1e-03\); nothing was written. The checkpoint's "
     r"own output moves by 1.50e-03 .*rounding alone.*--export_tolerance 3e-03$"),
    (2e-2, 1e-3, r"2.00e-02 .*moves by 1.50e-03 .*more than rounding"),
    (2e-2, 1e-2, r"2.00e-02 \(allowed: 1e-02\)"), (np.nan, 1e-1, "by nan .*more than rounding"), (2e-3, 3e-3, None)])
def test_a_difference_is_judged_beside_the_noise(caplog, error, tolerance, words):
    if words is None:
        judge(error, 1.5e-3, tolerance)
        assert "by 2.00e-03, above the usual 1e-03, within --export_tolerance 3e-03. The checkpoint's own output "\
            "moves by 1.50e-03" in caplog.text
        return
    with pytest.raises(UserError, match=words):
        judge(error, 1.5e-3, tolerance)


@pytest.mark.slow
def test_an_export_above_the_usual_difference_needs_the_flag(tmp_path, monkeypatch, caplog):
    network, _, manifest = make(tmp_path, "--export_decode", "false")

    def run(path):
        graph = load_graph(path)
        return lambda x: [output + 2e-3 * max(np.abs(output).max(), 1) for output in graph(x)]

    monkeypatch.setattr(publish, "load_graph", run)
    target = tmp_path / "model.mindir"
    with pytest.raises(UserError, match="more than rounding"):
        export_model(network, manifest, target)
    assert not target.exists()
    assert export_model(network, manifest, target, 3e-3) == pytest.approx(2e-3, rel=0.01)
    assert target.exists() and "within --export_tolerance" in caplog.text
