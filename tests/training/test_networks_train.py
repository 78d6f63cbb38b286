"""Every kind of network takes a real training step that reaches all its weights."""
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from centernet.config.load import load_config
from centernet.data.augment import unchanged_colors
from centernet.data.pipeline import COLUMNS
from centernet.device import eager
from tests.tiny_training import changed, detector_step, run, values

CONFIGS = Path(__file__).parents[2] / "configs"


def objects(size):
    """Two images of size x size with two objects each."""
    random = np.random.default_rng(0)
    return {"image": random.integers(0, 256, (2, size, size, 3), np.uint8),
            "colors": np.stack([unchanged_colors()] * 2), "cls": np.array([[0, 2]] * 2, np.int32),
            "radius": np.ones((2, 2), np.int32), "ind": np.array([[9, 100], [30, 77]], np.int32),
            "wh": np.full((2, 2, 2), 5, np.float32), "reg": np.full((2, 2, 2), 0.5, np.float32),
            "reg_mask": np.ones((2, 2), np.int32)}


# ResNets take their steps in test_recipes.py.
@pytest.mark.slow
@pytest.mark.parametrize(("preset", "size"), [("official_dla34", 64), ("official_dlav0_34", 64),
                                              ("official_hourglass", 128)])
def test_a_step_moves_every_weight(preset, size):
    config = load_config("train", ["--config_path", str(CONFIGS / f"{preset}.yaml")], "")
    step = detector_step(config)
    before = values(step.loss_network)
    batch = objects(size)
    with eager() if preset.startswith("official_dla") else nullcontext():
        loss, hm_loss, wh_loss, off_loss, overflow, *_ = run(step, [batch[name] for name in COLUMNS])
    assert not overflow and np.isfinite(loss)
    assert loss == pytest.approx(hm_loss + 0.1 * wh_loss + off_loss, rel=1e-3)
    after = values(step)
    left = set(before) - changed(before, after)
    # A gradient may be too small to move a weight of 1.0 in the last bit; Adam's first moment shows that it came.
    assert not left or preset == "official_hourglass", left
    assert all(after[f"moment1.{name}"].any() for name in left)
