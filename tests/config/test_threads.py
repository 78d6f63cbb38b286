import os

import pytest

from centernet.config.load import load_config
from centernet.config.threads import automatic_threads, input_threads


@pytest.mark.parametrize("target, cores, threads", [
    ("Ascend", 24, 8), ("Ascend", 12, 6), ("Ascend", 3, 1), ("Ascend", 1, 1), ("CPU", 2, 2), ("CPU", 96, 2)])
def test_the_automatic_number(target, cores, threads):
    assert automatic_threads(target, cores) == threads


def test_a_given_number_is_kept_and_0_follows_the_cores_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10)))
    assert input_threads(load_config("train", ["--num_workers", "3"], "")) == 3
    assert input_threads(load_config("train", [], "")) == 5
    assert input_threads(load_config("eval", ["--device_target", "CPU"], "")) == 2
