import numpy as np
from mindspore import Tensor

from centernet.models.hourglass import Hourglass


def make_averaging(cell):
    """Make every convolution a mean over its input channels at the centre tap; batch norm then changes nothing."""
    for parameter in cell.get_parameters():
        if parameter.name.endswith(".weight"):
            kernel = np.zeros(parameter.shape, np.float32)
            kernel[:, :, kernel.shape[2] // 2, kernel.shape[3] // 2] = 1 / parameter.shape[1]
            parameter.set_data(Tensor(kernel))
    cell.set_train(False)


def test_each_size_is_added_to_the_next_finer_one(layer_by_layer):
    """With averaging convolutions a block doubles a positive input (residual + shortcut), so that blocks count."""
    cell = Hourglass((2, 3, 4), (1, 2, 1))
    make_averaging(cell)
    found = cell(Tensor(np.full((1, 2, 8, 12), 3.0, np.float32))).asnumpy()
    # Finest: 1 block kept; 1 down, what is inside, 1 up. Inside: 2 kept; 2 down, 1 innermost, 2 up.
    inside = 2**2 + 2**5
    np.testing.assert_allclose(found, np.full((1, 2, 8, 12), 3.0 * (2 + 2 * inside * 2)), rtol=1e-3)


def test_coarser_features_return_to_blocks_of_four_cells():
    cell = Hourglass((1, 1), (1, 1))
    make_averaging(cell)
    for parameter in cell.keep.get_parameters():
        if parameter.name.endswith("conv2.weight"):
            parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))  # keep is the identity then
    x = np.random.RandomState(0).rand(1, 1, 4, 6).astype(np.float32)
    below = cell(Tensor(x)).asnumpy() - x
    # Down, inside and up double; down's stride of 2 keeps the even cells.
    np.testing.assert_allclose(below, np.kron(8 * x[:, :, ::2, ::2], np.ones((2, 2))), rtol=1e-3)
