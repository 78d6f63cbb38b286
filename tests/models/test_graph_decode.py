import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from centernet.models.decode import Decode, Detect


@pytest.mark.parametrize(("case", "inputs"), [("dets", ("wh", "reg")), ("dets_noreg", ("wh",)),
                                              ("dets_catspec", ("cat_wh", "reg"))])
def test_decode_equals_official_code(case, inputs, golden):
    arrays = golden("decode")
    decode = Decode(100, cat_spec_wh=case == "dets_catspec")
    ours = decode(Tensor(arrays["hm_logits"]), *[Tensor(arrays[name]) for name in inputs])
    assert ours.dtype == ms.float32
    np.testing.assert_allclose(ours.asnumpy(), arrays[case], rtol=0, atol=1e-4)


def test_scores_give_the_same_as_logits(golden):
    arrays = golden("decode")
    scores = Tensor(arrays["hm_logits"]).sigmoid()
    ours = Decode(100, from_scores=True)(scores, Tensor(arrays["wh"]), Tensor(arrays["reg"]))
    np.testing.assert_allclose(ours.asnumpy(), arrays["dets"], rtol=0, atol=1e-4)


def maps(peaks, classes=3, size=(5, 7), batch=1):
    """Low scores everywhere but for peaks: (image, class, y, x) -> logit."""
    hm = np.full((batch, classes, *size), -9, np.float32)
    for where, logit in peaks.items():
        hm[where] = logit
    wh = np.zeros((batch, 2, *size), np.float32)
    wh[:, 0], wh[:, 1] = 4, 2
    return Tensor(hm), Tensor(wh)


def test_known_peaks_in_maps_that_are_not_square(layer_by_layer):
    peaks = {(0, 2, 1, 3): 2.0, (0, 0, 4, 6): 1.0, (0, 0, 4, 5): 0.5, (1, 1, 0, 0): 3.0}
    found = Decode(3)(*maps(peaks, batch=2)).asnumpy()
    score = 1 / (1 + np.exp(-np.array([2.0, 1.0, 3.0])))
    np.testing.assert_allclose(found[0, 0], [1.5, 0.5, 5.5, 2.5, score[0], 2], rtol=1e-6)
    # (4, 5) is beside a higher score of its class: not a peak
    np.testing.assert_allclose(found[0, 1], [4.5, 3.5, 8.5, 5.5, score[1], 0], rtol=1e-6)
    assert found[0, 2, 4] < 0.01
    np.testing.assert_allclose(found[1, 0], [-1.5, -0.5, 2.5, 1.5, score[2], 1], rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 128), (170, 171), (257, 3), (200, 41), (100, 83)])
def test_every_cell_is_decoded_to_itself(size, layer_by_layer):
    """Row and column come from float arithmetic: the first and last column of each row would show an error."""
    height, width = size
    hm = np.random.RandomState(0).rand(1, 1, height, width).astype(np.float32)
    hm[0, 0, ::2, 0] = hm[0, 0, ::2, -1] = 2
    zero = Tensor(np.zeros((1, 2, height, width), np.float32))
    count = (2 if width > 1 else 1) * ((height + 1) // 2)
    found = Decode(count, from_scores=True)(Tensor(hm), zero, zero).asnumpy()[0]
    expected = {(x, y) for y in range(0, height, 2) for x in (0, width - 1)}
    assert {(int(x), int(y)) for x, y in found[:, :2]} == expected


@pytest.mark.parametrize("count", [41, 47, 100])
def test_classes_are_exact_for_any_number_of_detections(count, layer_by_layer):
    peaks = {(0, cls, 4, 2 * cls): 8.0 - cls for cls in range(10)}
    found = Decode(count)(*maps(peaks, classes=10, size=(9, 21))).asnumpy()[0]
    assert found[:10, 5].tolist() == list(range(10))


def test_category_specific_sizes_are_those_of_the_class(layer_by_layer):
    hm, _ = maps({(0, 2, 1, 3): 2.0})
    wh = np.arange(6, dtype=np.float32)[None, :, None, None] + np.zeros((1, 6, 5, 7), np.float32)
    best = Decode(1, cat_spec_wh=True)(hm, Tensor(wh)).asnumpy()[0, 0]
    np.testing.assert_allclose(best[2:4] - best[:2], [4, 5], rtol=1e-6)


def test_more_detections_than_cells_is_an_error():
    with pytest.raises(ValueError, match="eval_config.K"):
        Decode(36)(*maps({}))


class TinyNetwork(nn.Cell):
    """Three convolutions instead of a network, one per map, seeing 4x4 pixels at a time."""

    def __init__(self, with_reg=True):
        super().__init__()
        kwargs = {"kernel_size": 4, "stride": 4, "pad_mode": "pad", "padding": 0, "has_bias": True}
        self.hm, self.wh = nn.Conv2d(3, 5, **kwargs), nn.Conv2d(3, 2, **kwargs)
        self.reg = nn.Conv2d(3, 2, **kwargs) if with_reg else None

    def construct(self, x):
        if self.reg is None:
            return self.hm(x), self.wh(x)
        return self.hm(x), self.wh(x), self.reg(x)


def images(batch=2):
    return np.random.RandomState(3).randn(batch, 3, 32, 48).astype(np.float32)


@pytest.mark.parametrize("with_reg", [True, False])
def test_flip_test_averages_scores_and_sizes_but_not_offsets(with_reg, layer_by_layer):
    network = TinyNetwork(with_reg)
    x = images()
    plain = network(Tensor(x))
    mirrored = network(Tensor(x[..., ::-1].copy()))
    back = [t.asnumpy()[..., ::-1] for t in mirrored]
    scores = (plain[0].sigmoid().asnumpy() + mirrored[0].sigmoid().asnumpy()[..., ::-1]) / 2
    wh = (plain[1].asnumpy() + back[1]) / 2
    expected = Decode(20, from_scores=True)(Tensor(scores), Tensor(wh), *plain[2:]).asnumpy()
    ours = Detect(network, 20, flip_test=True)(Tensor(x)).asnumpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(ours, Detect(network, 20)(Tensor(x)).asnumpy(), atol=1e-3)


class TinyDistances(TinyNetwork):
    """The same with distances to the sides."""

    def __init__(self):
        super().__init__()
        self.reg = nn.Conv2d(3, 4, 4, 4, pad_mode="pad", has_bias=True)

    def construct(self, x):
        return self.hm(x), ops.relu(self.reg(x)) * 4


def test_flip_test_of_distances_exchanges_left_and_right(layer_by_layer):
    """So the mirrored image gives the mirrored boxes."""
    detect = Detect(TinyDistances(), 20, flip_test=True, box_head="ltrb")
    x = images()
    found, other = (detect(Tensor(each)).asnumpy() for each in (x, x[..., ::-1].copy()))
    expected = found[..., [2, 1, 0, 3, 4, 5]]
    expected[..., [0, 2]] = 12 - 0.25 - expected[..., [0, 2]]
    np.testing.assert_allclose(other, expected, rtol=1e-5, atol=1e-5)
    single = Detect(TinyDistances(), 20, box_head="ltrb")(Tensor(x)).asnumpy()
    assert not np.allclose(single, found, atol=1e-3)


@pytest.mark.parametrize("flip_test", [pytest.param(False, marks=pytest.mark.slow), True])
def test_exported_graph_gives_the_same_detections(tmp_path, flip_test):
    detect = Detect(TinyNetwork(), 20, flip_test=flip_test)
    detect.set_train(False)
    x = Tensor(images())
    ms.export(detect, x, file_name=str(tmp_path / "tiny"), file_format="MINDIR")
    loaded = nn.GraphCell(ms.load(str(tmp_path / "tiny.mindir")))
    np.testing.assert_allclose(loaded(x).asnumpy(), detect(x).asnumpy(), rtol=1e-5, atol=1e-6)
