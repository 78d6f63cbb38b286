"""Run by test_two_workers.py under msrun: three steps, the second with an inf on rank 1 only; prints what happened."""
import json
import sys
from pathlib import Path

import numpy as np

from src.runtime.device import join_group, prepare_environment, set_up_device

prepare_environment()
set_up_device("CPU", 0, seed=3)
group = join_group(True, 2)

from src.training.optimizer import build_optimizer  # noqa: E402
from src.training.schedule import MultiDecay  # noqa: E402
from src.training.step import TrainStep  # noqa: E402
from tests.tiny_training import TinyLoss, run, settings, tiny_batch, values  # noqa: E402

train = settings().train_config
loss_network = TinyLoss()
step = TrainStep(loss_network, build_optimizer(loss_network, train, MultiDecay(0.01, 0, (), 10.0)), train,
                 devices=group.size)
rows = []
for index in range(3):
    image, target = tiny_batch(10 * group.rank + index)
    if index == 1 and group.rank == 1:
        image[0, 0, 0, 0] = np.inf
    outputs = run(step, (image, target))
    state = values(step)
    rows.append({"overflow": outputs[4], "scale": outputs[5], "weight": state["backbone.0.weight"].ravel().tolist(),
                 "mean": state["backbone.1.moving_mean"].tolist(),
                 "moment": state["moment1.backbone.0.weight"].ravel().tolist()})
Path(sys.argv[1], f"rank{group.rank}.json").write_text(json.dumps(rows))
