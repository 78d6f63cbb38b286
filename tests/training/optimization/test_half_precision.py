"""Training in float16 on CPU: it follows float32, and the loss scale does its work."""
import numpy as np
import pytest

from centernet.data.pipeline import COLUMNS
from centernet.weights.checkpoint import load_parameters, read_checkpoint, save_checkpoint
from tests.tiny_training import changed, detector_step, run, settings, values
from tests.training.test_networks_train import objects

LTRB = ("--net_config.box_head", "ltrb", "--net_config.wh_weight", "5")


def build(precision, scale=1024.0, *flags):
    import mindspore as ms
    ms.set_seed(1)
    config = settings("--train_config.loss_scale_value", str(scale), *flags)
    return detector_step(config, 0.0005, precision)


def batches(count):
    random = np.random.RandomState(0)
    for _ in range(count):
        batch = objects(64)
        batch["image"] = random.randint(0, 256, batch["image"].shape).astype(np.uint8)
        yield [batch[name] for name in COLUMNS]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), LTRB, (*LTRB, "--net_config.iou_score", "true")],
                         ids=["wh_reg", "ltrb", "iou score"])
def test_twenty_steps_follow_those_of_float32(flags):
    exact, half = build("float32", 1024.0, *flags), build("float16", 1024.0, *flags)
    pairs = [(run(exact, batch), run(half, batch)) for batch in batches(20)]
    assert not any(row[4] for pair in pairs for row in pair)
    # Means of four steps: a single step differed by 2.2 % in one of two runs. Sums have another order each time.
    losses = np.array([(other[0], one[0]) for one, other in pairs]).reshape(5, 4, 2).mean(1)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=0.02)
    assert pairs[-1][0][0] < 0.92 * pairs[0][0][0]
    assert [p.dtype for p in exact.get_parameters()] == [p.dtype for p in half.get_parameters()]


@pytest.mark.slow  # test_step.py tests the rule with a step that compiles in a second
def test_a_loss_scale_that_is_too_large_is_halved_until_training_goes_on():
    step, rows = build("float16", 2.0 ** 24), []
    for batch in batches(14):
        before = values(step.loss_network)
        rows.append(run(step, batch))
        assert bool(changed(before, values(step.loss_network))) != rows[-1][4]
    skipped = [row[4] for row in rows].index(False)
    assert 3 < skipped < 12 and all(np.isfinite(row[0]) for row in rows)
    assert rows[skipped][5] == 2.0 ** (24 - skipped)


@pytest.mark.slow
def test_checkpoints_of_both_precisions_are_the_same_kind(tmp_path):
    half, exact = build("float16"), build("float32")
    batch = next(batches(1))
    run(half, batch)
    save_checkpoint(tmp_path / "half.ckpt", half, None, {"step": 1})
    load_parameters(exact, read_checkpoint(tmp_path / "half.ckpt").parameters, "half.ckpt")
    assert not changed(values(half), values(exact))
    assert run(exact, batch)[0] == pytest.approx(run(half, batch)[0], rel=0.01)
