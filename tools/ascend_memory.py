"""Write the simulated peak memory of the presets' training steps into docs/ascend.md.

    python -m tools.ascend_memory [PRESET ...]      without PRESET: the default network and all of configs/
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from centernet.config.load import find_config, load_config, preset_files
from centernet.errors import UserError, reports_errors
from centernet.files import write_text
from tools.document_table import begin_of, rows_between, with_rows
from tools.dry_run import command_words, dry_environment, dry_run

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "ascend.md"
BEGIN = begin_of("ascend_memory")
HEADER = """\
| preset | network | optimizer | image | batch size | simulated peak memory | kernels |
|---|---|---|---|---|---|---|"""
DEFAULT = "(default)"
PRECISION = ("--train_config.amp_level", "O0")  # float32, which needs the most memory


def row(preset: Path | None, environment: dict[str, str], folder: Path) -> str:
    """Return the line of a preset's training step; None is default_config.yaml.

    Raises:
        UserError: the preset cannot be read, or its step cannot be compiled.
    """
    flags = [*(["--config_path", str(preset)] if preset else []), *PRECISION]
    config = load_config("train", flags, "")
    net, train = config.net_config, config.train_config
    report = dry_run(command_words("step", flags, folder), environment, folder, quiet=True)
    name = preset.stem if preset else DEFAULT
    if report.status or report.without_kernel or not report.peak:
        reason = ", ".join(report.without_kernel) or report.messages[-2000:] or "MindSpore told no peak"
        raise UserError(f"{name}: its training step could not be compiled: {reason}")
    height, width = config.dataset_config.input_res_train
    deformable = "with" if net.deformable else "without"
    return (f"| {name} | {net.backbone} {deformable} deformable layers | {train.optimizer} | {height} x {width} | "
            f"{train.batch_size} | {report.peak / 1024:.1f} GiB | {sum(report.kernels.values())} |")


def merged(text: str, rows: Sequence[str]) -> str:
    """Return the document's text with new rows in its table. Rows of other presets stay.

    Raises:
        UserError: the document does not have the markers of the table.
    """
    found = {line.split("|")[1].strip(): line for line in [*rows_between(text, BEGIN, DOCUMENT), *rows]}
    return with_rows(text, BEGIN, DOCUMENT, HEADER, (found[name] for name in sorted(found)))


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Measure, write the table, return the exit status: 2 if a preset cannot be compiled."""
    parser = argparse.ArgumentParser(prog="python -m tools.ascend_memory", description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", metavar="PRESET",
                        help=f"names of presets, or YAML files; {DEFAULT}: the default network")
    words = parser.parse_args(argv).presets
    presets = ([None if word == DEFAULT else find_config(word) for word in words]
               or [None, *preset_files([])])
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        environment = dry_environment(Path(name))
        for number, preset in enumerate(presets):
            line = row(preset, environment, Path(name, str(number)))
            print(line, flush=True)
            write_text(DOCUMENT, merged(DOCUMENT.read_text(encoding="utf-8"), [line]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
