"""A training step that compiles in a second (`from tests.tiny_training import ...`)."""
import numpy as np
from mindspore import Tensor, nn, ops

from centernet.categories import Categories
from centernet.cli import train as command
from centernet.config.load import load_config
from centernet.models.centernet import build_centernet
from centernet.models.precision import lower
from centernet.training.losses.network import LossNetwork
from centernet.training.optimization.optimizer import build_optimizer
from centernet.training.optimization.schedule import MultiDecay
from centernet.training.optimization.step import TrainStep

CATEGORIES = Categories(("disc", "frame", "cross"), (1, 7, 90))
TINY = ("--device_target", "CPU", "--net_config.backbone", "resnet18", "--net_config.block_class", "1", "1", "1", "1",
        "--net_config.neck", "none", "--net_config.neck_filters", "8", "8", "8", "--net_config.head_conv", "8",
        "--dataset_config.input_res_train", "64", "64", "--dataset_config.output_res", "16", "16",
        "--dataset_config.max_objs", "8")

BATCH = ("--train_config.batch_size", "2", "--num_workers", "1", "--train_config.MultiDecay.warmup_steps", "3")


def settings(*flags):
    """The configuration of a ResNet with one block a stage at 64x64, with more flags of train.py."""
    return load_config("train", [*TINY, *flags], "")


def train_tiny(shards, folder, *flags):
    """Exit status of train.py; flags come last, so that they win."""
    return command.main([*TINY, *BATCH, "--mindrecord_dir", str(shards), "--save_checkpoint_path", str(folder), *flags])


def error(capsys):
    """What the command wrote to standard error."""
    return capsys.readouterr().err


class TinyLoss(nn.Cell):
    """Mean |map - target| of two convolutions with batch norm, and made-up parts of it."""

    def __init__(self):
        super().__init__(auto_prefix=False)
        self.network = nn.SequentialCell(nn.Conv2d(3, 4, 3, weight_init="HeNormal"), nn.BatchNorm2d(4), nn.ReLU(),
                                         nn.Conv2d(4, 1, 3, weight_init="HeNormal"), nn.BatchNorm2d(1))
        self.network.update_parameters_name("backbone.")

    def construct(self, image, target):
        loss = ops.abs(self.network(image) - target).mean()
        return loss, loss * 0.5, loss * 2.0, loss * 0.0


def tiny_step(*flags, rate=0.01, drops=(), scale_loss=True, devices=1, in_float32=False):
    """TrainStep on TinyLoss, its schedule without warm-up."""
    train = settings(*flags).train_config
    loss_network = TinyLoss()
    return TrainStep(loss_network, build_optimizer(loss_network, train, MultiDecay(rate, 0, drops, 10.0)), train,
                     scale_loss, devices, in_float32)


def detector_step(config, rate=0.001, precision="float32"):
    """TrainStep of the configured network with three categories and a constant learning rate."""
    network = build_centernet(config.net_config, 3)
    if precision != "float32":
        lower(network, precision)
    return TrainStep(LossNetwork(network, config.net_config, config.dataset_config, 3),
                     build_optimizer(network, config.train_config, MultiDecay(rate, 0, (), 10.0)), config.train_config,
                     in_float32=precision == "float32")


def tiny_batch(index=0):
    """image (2,3,8,8), target (2,1,8,8), float32."""
    random = np.random.default_rng(index)
    return random.normal(size=(2, 3, 8, 8)).astype(np.float32), random.normal(size=(2, 1, 8, 8)).astype(np.float32)


def run(step, batch):
    """The step's outputs as numbers: loss, hm, wh, off, overflow, scale, rate."""
    loss, hm, wh, off, overflow, scale, rate = step(*(Tensor(array) for array in batch))[0].asnumpy().tolist()
    return [loss, hm, wh, off, bool(overflow), scale, rate]


def changed_after_a_skipped_step(step):
    """Run three steps, skip the second for an inf: names of what the second and third changed together."""
    run(step, tiny_batch())
    before = values(step)
    bad = tiny_batch(1)
    bad[0].flat[0] = np.inf
    assert run(step, bad)[4] is True
    assert changed(before, values(step)) == {"loss_scale", "good_steps"}
    assert run(step, tiny_batch(2))[4] is False
    return changed(before, values(step))


def values(cell):
    """Parameter name -> copy of its value."""
    return {parameter.name: parameter.asnumpy().copy() for parameter in cell.get_parameters()}


def changed(before, after):
    """Names of the values that differ in any bit."""
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def apply_colors(image, colors):
    """A (H, W, 3) uint8 image with its color matrix applied, float32, as the training graph does it."""
    return image.astype(np.float32) @ colors[:, :3].T + colors[:, 3]
