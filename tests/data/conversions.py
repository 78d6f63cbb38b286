"""Conversions of tiny data sets (`from tests.data.conversions import ...`)."""
import mindspore.dataset as ds

from centernet.data.coco import locate, read_coco
from centernet.data.convert import convert
from centernet.data.mindrecord import shard_files


def run(coco, out, **options):
    return convert(read_coco(*locate(str(coco), "train")), out, "tiny", **{"shard_num": 2, **options})


def rows(folder, prefix="tiny"):
    files = [str(path) for path in shard_files(folder, prefix)]
    return list(ds.MindDataset(files, shuffle=False).create_dict_iterator(num_epochs=1, output_numpy=True))
