"""Maps of another runtime become the detections that MindSpore's graph gives of them."""
import mindspore as ms
import numpy as np
import pytest
from tiny_model import CATEGORIES, read_config, tiny_config, tiny_network

from centernet.device import eager
from centernet.errors import UserError
from centernet.export.compare import largest_difference_of_detections
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.maps import MapsBackend
from centernet.spec import configured_spec


def backends(folder, flip, **net):
    """The same network as MapsBackend and CheckpointBackend."""
    config = read_config(tiny_config(folder, **net))
    network = tiny_network(config)

    def run(images):
        with eager():
            return [output.asnumpy() for output in network(ms.Tensor(np.ascontiguousarray(images)))]

    rest = config.net_config, configured_spec(config.dataset_config, config.net_config, CATEGORIES), 20, flip
    return MapsBackend(run, *rest), CheckpointBackend(network, *rest)


# Fast: each head once, with and without the flip test.
@pytest.mark.parametrize("flip, net", [
    (True, {}), (False, {"reg_offset": False}), (True, {"cat_spec_wh": True}),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        (False, {}), (True, {"reg_offset": False}), (False, {"cat_spec_wh": True}), (False, {"box_head": "ltrb"}),
        (True, {"box_head": "ltrb"})))],
    ids=["flip-reg", "plain-no-reg", "flip-by-class", "plain-reg", "flip-no-reg", "plain-by-class", "plain-ltrb",
         "flip-ltrb"])
def test_detections_are_those_of_the_graph(tmp_path, flip, net):
    maps, graph = backends(tmp_path, flip, **net)
    images = np.random.default_rng(3).standard_normal((2, 3, 64, 96)).astype(np.float32)
    expected = graph(images)
    assert np.ptp(expected[..., 4]) > 0.05
    assert largest_difference_of_detections(maps(images), expected) <= 1e-4
    assert maps.spec == graph.spec


def test_sizes_are_checked(tmp_path):
    maps, graph = backends(tmp_path, False)
    with pytest.raises(UserError, match="multiples of 4, found 66 x 64"):
        maps(np.zeros((1, 3, 66, 64), np.float32))
    maps.K = graph.K = 65
    images = np.random.default_rng(5).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with eager():
        expected = graph(images)
    assert expected.shape == (2, 64, 6)  # K is 65, and there are 8 x 8 output cells
    assert largest_difference_of_detections(maps(images), expected) <= 1e-4
