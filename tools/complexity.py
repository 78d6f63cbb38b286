"""How big a network is and how much it computes: parameters, multiply-accumulates, floating-point operations."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from centernet.models.deform_conv import DeformConv
from centernet.models.dla import Merge
from centernet.models.hourglass import Hourglass
from centernet.models.resnet import BasicBlock, Bottleneck

CONVOLUTIONS = (nn.Conv2d, nn.Conv2dTranspose, DeformConv)
ADDING = (BasicBlock, Bottleneck, Hourglass, Merge)


@dataclass(frozen=True)
class Complexity:
    """Counts of one network for one image.

    Attributes:
        parameters: trainable ones, also of what only training uses.
        folded: of the layers that detection uses, each batch norm folded into the convolution before it.
        macs: multiply-accumulates of the convolutions; of a transposed one, for the cells that exist in its input;
            of a deformable one, without the interpolation of its samples.
        flops: 2 * macs, and for each element of their outputs: bias 1, ReLU 2, pooling the cells of its window,
            sum of two branches 1.
        outputs: shapes of the maps.
    """

    parameters: int
    folded: int
    macs: int
    flops: int
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Call:
    """One call of a cell: elements of its first input and of its output."""

    cell: nn.Cell
    elements_in: int
    elements_out: int


def measure(network: nn.Cell, height: int, width: int) -> Complexity:
    """Count what a network does with an image of height x width pixels; needs eager mode (runtime.device.eager).

    All counts are proportional to the image's area wherever every size is divided without a remainder. So large
    images of multiples of 128 pixels are stood for by the smallest one of the same proportions.
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
    """Run a network on one image: every call of its cells that computes something, and the shapes of its outputs."""
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
    """Multiply-accumulates of a call."""
    if not isinstance(call.cell, CONVOLUTIONS):
        return 0
    # Kernels are (out, in / groups, k, k), of transposed convolutions (in, out / groups, k, k).
    taps = int(np.prod(call.cell.weight.shape[1:]))
    return taps * (call.elements_in if isinstance(call.cell, nn.Conv2dTranspose) else call.elements_out)


def elementwise(call: Call) -> int:
    """Operations of a call that are not multiply-accumulates; batch norms count as folded."""
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
    """Parameters of a cell (without its children) in a network without batch norms."""
    if isinstance(cell, nn.BatchNorm2d):
        return cell.beta.size  # becomes the convolution's bias
    own = sum(parameter.size for parameter in cell.get_parameters(expand=False))
    return own - cell.bias.size if isinstance(cell, DeformConv) else own  # its bias goes into the batch norm's
