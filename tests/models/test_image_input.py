"""Normalisation in the graph of an exported model."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from centernet.categories import Categories
from centernet.models.image_input import ImageInput
from centernet.spec import ModelSpec


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_the_graph_gives_the_bits_of_numpy(layer_by_layer, order):
    spec = ModelSpec(Categories(("disc",), (1,)), (0.40789654, 0.44719302, 0.47026115),
                     (0.28863828, 0.27408164, 0.27809835), order, 4, (16, 24))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    found = ImageInput(nn.Identity(), *spec.scaling, spec.to_rgb)(ms.Tensor(images)).asnumpy()
    np.testing.assert_array_equal(found, np.stack([*map(spec.normalize, images)]))
