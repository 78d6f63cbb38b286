"""The paper's training in PyTorch against ours: losses, gradients, targets, colours, initial weights."""
import json

import numpy as np
import pytest
from mindspore import Tensor, ops
from tiny_coco import make_coco, make_shards

from benchmarks.training_step import Case, build_step, draw_batch, write_weights
from centernet.cli import train as train_command
from centernet.config.load import HOME, load_config
from centernet.data import augment
from centernet.data import targets as our_targets
from centernet.weights.checkpoint import read_checkpoint
from centernet.weights.name_maps import source_names

torch = pytest.importorskip("torch")

from benchmarks import torch_input, torch_training  # noqa: E402 (they need PyTorch)
from benchmarks.torch_centernet import TorchCenterNet, detection_losses, load_weights  # noqa: E402

RES18 = str(HOME / "benchmarks/rows/bccd_res18.yaml")


@pytest.fixture(scope="module")
def config():
    return load_config("train", ["--config_path", RES18], "")


def test_colours_are_those_of_our_matrix(config):
    """Each change one after the other, against the affine map; the draws are the same."""
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    data = config.dataset_config
    for seed in range(12):
        rng = np.random.default_rng(seed)
        order = {"brightness": 0, "contrast": 1, "saturation": 2}
        kinds = [order[name] for name in rng.permutation(["brightness", "contrast", "saturation"])]
        factors = [1 + rng.uniform(-0.4, 0.4) for _ in range(3)]
        matrix = augment.jitter_matrix(image, np.array(kinds), np.array(factors), rng.normal(0, 0.1, 3), data)
        changed = torch_input.change_colors(np.random.default_rng(seed), image.astype(np.float32) / 255,
                                            np.array(data.eig_val), np.array(data.eig_vec))
        assert abs(changed - (image @ matrix[:, :3].T + matrix[:, 3])).max() < 2e-5


def test_targets_are_those_of_ours():
    rng = np.random.default_rng(1)
    start = rng.uniform(-4, 28, (20, 2))
    boxes = np.hstack([start, start + rng.uniform(-0.5, 14, (20, 2)), rng.integers(0, 3, (20, 1))]).astype(np.float32)
    found = torch_input.targets(boxes, 3, (32, 32), 24)
    clipped = np.clip(boxes[:, :4], 0, 31)
    ours = our_targets.encode(clipped, boxes[:, 4].astype(np.int32), (32, 32), 24)
    assert 10 < ours.reg_mask.sum() < 20
    np.testing.assert_array_equal(found["mask"][:, 0], ours.reg_mask)
    np.testing.assert_array_equal(found["ind"], ours.ind)
    np.testing.assert_allclose(found["wh"], ours.wh, atol=1e-5)
    np.testing.assert_allclose(found["reg"], ours.reg, atol=1e-5)
    heatmap = our_targets.draw_heatmap(ours.cls, ours.radius, ours.ind, ours.reg_mask, 3, 32, 32)
    np.testing.assert_allclose(found["hm"], heatmap, atol=1e-5)


def test_crops_have_the_moments_of_ours(config):
    for height, width in ((480, 640), (90, 300)):
        theirs = [torch_input.draw_crop(np.random.default_rng(seed), height, width) for seed in range(1500)]
        ours = [augment.draw_view(np.random.default_rng(seed), height, width, config.dataset_config)
                for seed in range(5000, 6500)]
        mine = np.array([[*view.center, view.scale, view.flip] for view in ours])
        other = np.array([[*center, side, flip] for center, side, flip in theirs])
        error = (mine.var(0) / 1500 + other.var(0) / 1500) ** 0.5
        assert (abs(mine.mean(0) - other.mean(0)) < 4 * error).all()
        np.testing.assert_allclose(mine.std(0), other.std(0), rtol=0.06)
        for limit in (np.min, np.max):
            np.testing.assert_allclose(limit(mine, 0), limit(other, 0), atol=3)


def test_batches_do_not_repeat_an_image():
    batches = torch_input.shuffled(10, 4, 3, seed=1)
    assert [{epoch for epoch, _ in batch} for batch in batches] == [{0}, {0}, {1}, {1}, {2}, {2}]
    assert len({index for batch in batches[:2] for _, index in batch}) == 8
    assert batches[:2] != batches[2:4]


def test_learning_rate(config):
    train = config.train_config  # 0.0005, 50 steps of warm-up, drops after 22 and 27 epochs
    rates = [torch_training.learning_rate(train, step, 36) for step in (0, 49, 50, 791, 792, 971, 972)]
    np.testing.assert_allclose(rates, [1e-5, 5e-4, 5e-4, 5e-4, 5e-5, 5e-5, 5e-6], rtol=1e-6)


@pytest.mark.parametrize("flags, words", [
    (["--train_config.ema_decay", "0.999"], "train_config.ema_decay 0.999"),
    (["--net_config.neck", "deform"], "only resnet18 and resnet50"),
    (["--dataset_config.input_res_train", "64", "96"], "square"), (["--data_dir", "/no/such"], "/no/such")])
def test_wrong_usage(capsys, flags, words):
    assert torch_training.main(["--config_path", RES18, *flags]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_losses_and_gradients(tmp_path, backbone):
    config = load_config("train", ["--config_path", RES18, "--net_config.backbone", backbone], "")
    step = build_step(config)
    network = step.loss_network.set_train()
    write_weights(network.network, config.net_config, tmp_path / "weights.npz")
    batch = draw_batch(Case(RES18, 128, 8))
    gradient = ops.value_and_grad(network, None, list(network.trainable_params()), has_aux=False)
    losses, gradients = gradient(*map(Tensor, batch))
    image, _, cls, radius, ind, wh, reg, mask = batch
    data, net = config.dataset_config, config.net_config
    hm = np.stack([our_targets.draw_heatmap(*columns, 80, 32, 32) for columns in zip(cls, radius, ind, mask)])
    pixels = ((image / 255 - np.array(data.mean)) / np.array(data.std)).transpose(0, 3, 1, 2)
    theirs = {"image": pixels, "hm": hm, "wh": wh, "reg": reg,
              "mask": mask[..., None].astype(np.float32), "ind": ind.astype(np.int64)}
    weights = dict(np.load(tmp_path / "weights.npz"))
    single, double = (torch_gradients(weights, theirs, net, kind) for kind in (torch.float32, torch.float64))
    np.testing.assert_allclose([one.asnumpy() for one in losses], double[0], rtol=1e-4)
    names = [parameter.name for parameter in network.trainable_params()]
    of_ours = source_names("official", net, names)
    assert len(names) == len(double[1])
    mine, other = ({name: distance(found[name], double[1][name]) for name in double[1]}
                   for found in ({of_ours[name]: one.asnumpy() for name, one in zip(names, gradients)}, single[1]))
    print(f"{backbone}: largest errors of gradients to float64: ours {max(mine.values()):.1e}, "
          f"PyTorch in float32 {max(other.values()):.1e}")
    # Batch norms over few positions amplify rounding errors through 50 layers, so PyTorch's own error is the scale.
    assert max(mine.values()) < 3 * max(other.values()) < 0.2
    assert max(value for name, value in mine.items() if name.startswith(("hm.", "wh.", "reg."))) < 1e-3


def torch_gradients(weights, batch, net, kind):
    network = TorchCenterNet(net.backbone, 80, net.neck_filters, net.head_conv)
    load_weights(network, weights)
    columns = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}
    columns = {name: value.to(kind) if value.is_floating_point() else value for name, value in columns.items()}
    losses = detection_losses(network.to(kind)(columns["image"]), columns)
    sum(losses).backward()  # MindSpore's gradient is of the sum of the four outputs
    return ([one.item() for one in losses],
            {name: parameter.grad.numpy() for name, parameter in network.named_parameters()})


def distance(value, reference):
    return np.linalg.norm(value - reference) / max(np.linalg.norm(reference), 1e-6)


@pytest.mark.slow
def test_same_initial_weights_and_a_short_training(tmp_path):
    """The first weights are those of train.py with the same seed, and one update of both gives nearly the same."""
    make_coco(tmp_path, num_images=4)
    flags = ["--config_path", RES18, "--seed", "5", "--epoch_size", "2", "--dataset_config.input_res_train", "64", "64",
             "--train_config.batch_size", "2", "--train_config.MultiDecay.learning_rate", "1e-12",
             "--save_checkpoint_path", str(tmp_path / "run"), "--num_workers", "1"]
    weights = torch_training.initial_weights(flags, tmp_path / "annotations/instances_train2017.json")
    assert train_command.main([*flags, "--mindrecord_dir", str(make_shards(tmp_path))]) == 0
    assert torch_training.main([*flags, "--data_dir", str(tmp_path)]) == 0
    config = load_config("train", flags, "")
    trained = read_checkpoint(str(tmp_path / "run/last.ckpt")).parameters
    own = {name: value for name, value in trained.items() if name.startswith(("backbone.", "neck.", "heads."))}
    state = torch.load(tmp_path / "run/last.pth", weights_only=True)["state_dict"]
    for name, theirs in source_names("official", config.net_config, own).items():
        if "moving" not in name:
            value = own[name] if isinstance(own[name], np.ndarray) else own[name].asnumpy()
            np.testing.assert_allclose(value, weights[theirs], atol=1e-10, err_msg=name)
            np.testing.assert_allclose(state[theirs].numpy(), weights[theirs], atol=1e-10, err_msg=name)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["step", "step", "epoch", "step", "step", "epoch"]
