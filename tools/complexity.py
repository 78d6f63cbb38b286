"""Complexity of a network: parameters, multiply-accumulates, floating-point operations."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from centernet.models.deform_conv import DeformConv
from centernet.models.dla import Merge
from centernet.models.hourglass import Hourglass
from centernet.models.resnet import BasicBlock, Bottleneck
from centernet.models.shortcut import ShortcutStage

CONVOLUTIONS = (nn.Conv2d, nn.Conv2dTranspose, DeformConv)
ADDING = (BasicBlock, Bottleneck, Hourglass, Merge, ShortcutStage)


@dataclass(frozen=True)
class Complexity:
    """Counts of one network for one image.

    Attributes:
        parameters: trainable parameters, including those of layers that only training uses.
        folded: parameters for detection, with each batch norm folded into the convolution before it.
        macs: multiply-accumulates of the convolutions. For a transposed convolution, those of the positions in its
            input; for a deformable convolution, without the interpolation of its samples.
        flops: 2 * macs, and for each element of their outputs: bias 1, ReLU 2, pooling the size of its window, sum of
            two branches 1.
        outputs: shapes of the maps.
    """

    parameters: int
    folded: int
    macs: int
    flops: int
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Call:
    """One call of an nn.Cell: numbers of elements of its first input and of its output."""

    cell: nn.Cell
    elements_in: int
    elements_out: int


def measure(network: nn.Cell, height: int, width: int) -> Complexity:
    """Count the operations of a network for an image of height x width pixels. It needs eager mode (device.eager).

    All counts are proportional to the image's area if every size is divided without a remainder. So for multiples of
    128 pixels, the smallest image with the same aspect ratio is measured, and the counts are scaled.
    """
    factor = 1 if height % 128 or width % 128 else int(np.gcd(height, width)) // 128
    calls, outputs = observe(network, height // factor, width // factor)
    area = factor**2
    layers = {id(call.cell): call.cell for call in calls}.values()
    return Complexity(
        parameters=sum(parameter.size for parameter in network.trainable_params()),
        folded=sum(folded_parameters(cell) for cell in layers), macs=area * sum(macs(call) for call in calls),
        flops=area * sum(2 * macs(call) + elementwise(call) for call in calls),
        outputs=tuple((*shape[:2], shape[2] * factor, shape[3] * factor) for shape in outputs))


def observe(network: nn.Cell, height: int, width: int) -> tuple[list[Call], list[tuple[int, ...]]]:
    """Run a network on one image. Return the calls of all cells that compute something, and the output shapes."""
    calls: list[Call] = []

    def note(cell: nn.Cell, inputs: Any, output: Any) -> None:
        calls.append(Call(cell, int(np.prod(inputs[0].shape)), int(np.prod(output.shape))))

    kinds = (*CONVOLUTIONS, *ADDING, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d)
    hooks = [cell.register_forward_hook(note) for _, cell in network.cells_and_names() if isinstance(cell, kinds)]
    network.set_train(False)
    outputs = network(Tensor(np.zeros((1, 3, height, width), np.float32)))
    for hook in hooks:
        hook.remove()
    return calls, [output.shape for output in outputs]


def macs(call: Call) -> int:
    """Return the multiply-accumulates of a call."""
    if not isinstance(call.cell, CONVOLUTIONS):
        return 0
    # Kernels are (out, in / groups, k, k); those of transposed convolutions are (in, out / groups, k, k).
    taps = int(np.prod(call.cell.weight.shape[1:]))
    return taps * (call.elements_in if isinstance(call.cell, nn.Conv2dTranspose) else call.elements_out)


def elementwise(call: Call) -> int:
    """Return the other operations of a call. Batch norms count as folded."""
    cell, per_element = call.cell, 0
    if isinstance(cell, DeformConv) or getattr(cell, "has_bias", False):
        per_element = 1
    elif isinstance(cell, nn.ReLU):
        per_element = 2
    elif isinstance(cell, nn.MaxPool2d):
        per_element = cell.kernel_size**2
    elif isinstance(cell, ADDING) and not getattr(cell, "side_by_side", False):
        per_element = 1
    return per_element * call.elements_out


def folded_parameters(cell: nn.Cell) -> int:
    """Return the number of parameters of an nn.Cell (without its children) in a network with folded batch norms."""
    if isinstance(cell, nn.BatchNorm2d):
        return cell.beta.size  # becomes the convolution's bias
    own = sum(parameter.size for parameter in cell.get_parameters(expand=False))
    return own - cell.bias.size if isinstance(cell, DeformConv) else own  # the batch norm takes its bias
