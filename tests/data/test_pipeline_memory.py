"""The memory that the reader of training images keeps after each epoch."""
import os
import subprocess
import sys

import pytest

from tests.tiny_coco import make_shards
from tests.tiny_group import ROOT
from tools.synthetic import make_dataset

EPOCHS, WARM_UP, MOST = 40, 5, 4.0  # MOST: MiB that the epochs after the first ones may add
READ = """
import sys
from centernet.cli.entry import limit_arenas
from centernet.config.load import load_config
from centernet.device import prepare_environment
limit_arenas(1)
prepare_environment()
from centernet.data.pipeline import open_training_data
config = load_config("train", ["--device_target", "CPU", "--dataset_config.input_res_train", "64", "64",
                               "--dataset_config.output_res", "16", "16"], "")
data = open_training_data(sys.argv[1], "coco_det.train.mind", config.dataset_config, 50, 1)
for epoch in range(int(sys.argv[2])):
    for _ in data.epoch(epoch):
        pass
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * 4096 / 2**20)
"""


def memory(shards, **variables):
    """MiB of resident memory after each epoch of a process that only reads."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX",
                                                                                    "GLIBC_TUNABLES")}
    done = subprocess.run([sys.executable, "-c", READ, str(shards), str(EPOCHS)], capture_output=True, text=True,
                          check=True, env={**environment, "PYTHONPATH": str(ROOT / "src"), **variables})
    return [float(line) for line in done.stdout.splitlines() if line.replace(".", "").isdigit()]


@pytest.mark.slow
def test_an_epoch_leaves_no_memory_behind(tmp_path):
    make_dataset(tmp_path, 200, 1)
    shards = make_shards(tmp_path)
    ours, usual = memory(shards), memory(shards, MALLOC_ARENA_MAX="64")
    print(*(f"{name}: {' '.join(f'{value:.1f}' for value in values)} MiB"
            for name, values in (("ours", ours), ("as usual", usual))), sep="\n")
    assert len(ours) == len(usual) == EPOCHS
    assert ours[-1] - ours[WARM_UP] < MOST < usual[-1] - usual[0]
