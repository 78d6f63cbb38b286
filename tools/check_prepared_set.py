"""Check that a prepared set is of a certain data set. run_infer_310.sh uses it."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from centernet.data.coco import locate
from centernet.data.info_file import MOST_BYTES
from centernet.errors import UserError, printable, reports_errors, sentence
from centernet.files import read_json
from centernet.json_value import JsonValue
from centernet.program import prepare_again


def require_prepared_from(index: Path, data_dir: str) -> None:
    """Raise UserError unless the set with this meta/index.json is of the annotation file that is found in data_dir."""
    values = JsonValue(read_json(index, remedy=sentence(prepare_again()), most=MOST_BYTES), f"{index} is damaged",
                       prepare_again())
    source, wanted = values["annotation_file"].text(), str(locate(data_dir, "val")[0].resolve())
    if source != wanted:
        raise UserError(f"PREPROCESS_IMAGES is n, but {index.resolve().parents[1]} was prepared from "
                        f"{printable(source) or 'images without an annotation file'}, and DATASET_PATH {data_dir} has "
                        f"{wanted}: use y, or the DATASET_PATH of the prepared set")


@reports_errors
def main() -> int:
    """Return 0; exit status 2 if the set is of another data set or damaged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("coco_dir")
    arguments = parser.parse_args()
    require_prepared_from(arguments.index, arguments.coco_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
