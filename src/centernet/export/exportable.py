"""The form of a network for the export."""
from __future__ import annotations

import copy

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from centernet.models.decode import Detect
from centernet.models.deform_conv import DeformConv, with_deform_layers
from centernet.models.deform_gather import TAPS
from centernet.models.image_input import ImageInput
from centernet.runtimes.manifest import Manifest


def as_exported(network: nn.Cell, manifest: Manifest) -> nn.Cell:
    """Return the network in evaluation mode, with decoding if the manifest says so. The input is normalised float32."""
    cell = network
    if manifest.decode:
        cell = Detect(network, manifest.K, manifest.cat_spec_wh, manifest.flip_test, manifest.box_head)
    cell.set_train(False)
    return cell


def as_written(network: nn.Cell, manifest: Manifest) -> nn.Cell:
    """Return the graph of the file: as_exported, and normalisation before it if the manifest's input is uint8."""
    cell, spec = as_exported(network, manifest), manifest.spec
    return ImageInput(cell, *spec.scaling, spec.to_rgb).set_train(False) if spec.raw else cell


class DeformStandIn(nn.Cell):
    """A plain convolution that replaces a DeformConv during the export and holds its values.

    MindSpore's exporter does not know DeformConv; export/onnx_graph.py inserts it later. The stand-in convolves the
    concatenation of the input and the predicted offsets. So its node in the exported graph has all inputs of the
    deformable convolution. The kernels are the first Cin channels of its weight, whose name ends in MARK. Its output
    has no meaning.
    """

    MARK = "stand_in.weight"

    def __init__(self, layer: DeformConv):
        super().__init__()
        out_channels, in_channels = layer.weight.shape[:2]
        unused = np.zeros((out_channels, 3 * TAPS, 3, 3), np.float32)
        kernels = np.concatenate([layer.weight.asnumpy(), unused], 1)
        self.offset = layer.offset
        self.stand_in = nn.Conv2d(in_channels + 3 * TAPS, out_channels, 3, pad_mode="pad", padding=1, has_bias=True,
                                  weight_init=Tensor(kernels), bias_init=Tensor(layer.bias.asnumpy()))

    def construct(self, x: Tensor) -> Tensor:
        """Convolve x and its offsets: (B,Cin,H,W) -> (B,Cout,H,W)."""
        return self.stand_in(ops.concat((x, self.offset(x)), 1))


def with_stand_ins(network: nn.Cell) -> nn.Cell:
    """Return a copy of a network with each DeformConv replaced by a DeformStandIn."""
    return with_deform_layers(network, DeformStandIn)


def with_folded_deform_layers(network: nn.Cell) -> nn.Cell:
    """Return a copy of a network with the batch norms after deformable layers folded into these layers."""
    network = copy.deepcopy(network)
    for _, cell in list(network.cells_and_names()):
        if isinstance(cell, nn.SequentialCell):
            for index in reversed(range(len(cell) - 1)):
                if isinstance(cell[index], DeformConv) and isinstance(cell[index + 1], nn.BatchNorm2d):
                    _fold(cell[index], cell[index + 1])
                    del cell[index + 1]
    return network


def _fold(layer: DeformConv, norm: nn.BatchNorm2d) -> None:
    mean, variance, gamma, beta, bias = (value.asnumpy().astype(np.float64) for value in (
        norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta, layer.bias))
    scale = gamma / np.sqrt(variance + norm.eps)
    _set(layer.weight, layer.weight.asnumpy() * scale[:, None, None, None])
    _set(layer.bias, beta + (bias - mean) * scale)


def _set(parameter: Parameter, values: np.ndarray) -> None:
    parameter.set_data(Tensor(values.astype(np.float32)))
