import re

import pytest
from tiny_coco import make_coco

from benchmarks.feed_rate import main


@pytest.mark.parametrize("rate, status, word", [("0.01", 0, "yes: "), ("1e9", 1, "no: ")])
def test_a_host_that_feeds_and_one_that_does_not(tmp_path, capsys, rate, status, word):
    make_coco(tmp_path, num_images=6)
    assert main(["--devices", "1", "--data_dir", str(tmp_path), "--rate", rate, "--batch", "2",
                 "--seconds", "0.1"]) == status
    printed = capsys.readouterr().out
    assert word in printed.splitlines()[-1]
    assert re.search(r"^ +1 +\d+ +\d+$", printed, re.M)


@pytest.mark.parametrize("argv, words", [
    ([], "--mindrecord_dir or a data set"), (["--data_dir", "a", "--mindrecord_dir", "b"], "either"),
    (["--mindrecord_dir", "/no/such"], "no such folder"), (["--data_dir", "/no/such"], "/no/such"),
    (["--data_dir", "x", "--seconds", "0"], "--seconds")])
def test_wrong_usage(argv, words, capsys):
    assert main(["--devices", "1", *argv]) == 2
    assert words in capsys.readouterr().err


def test_too_few_images_for_a_batch(tmp_path, capsys):
    make_coco(tmp_path, num_images=2)
    assert main(["--devices", "1", "--data_dir", str(tmp_path), "--batch", "16", "--seconds", "0.1"]) == 2
    assert "the data set has 2 images" in capsys.readouterr().err
