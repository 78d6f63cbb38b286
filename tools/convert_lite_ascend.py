"""Convert an exported MINDIR for an Ascend chip, with MindSpore Lite's converter_lite.

scripts/convert_lite_ascend.sh calls it. It needs neither MindSpore nor a chip, but converter_lite needs CANN.
"""
from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from centernet.errors import UserError, nonempty, reports_errors
from centernet.export.ascend import AOE_MODES, lite_command, lite_config, require_fixed_batch, require_soc
from centernet.files import folder_beside, write_text
from centernet.owner import OWNER, owned
from centernet.runtimes.manifest import Manifest, manifest_path, publish, read_manifest
from tools.converter import run_converter

WHERE = ("It is in the archive of MindSpore Lite for servers (mindspore-lite-VERSION-linux-aarch64.tar.gz or "
         "-linux-x64.tar.gz; https://www.mindspore.cn/lite/docs/en/master/use/downloads.html): unpack it and set "
         "MS_LITE_HOME to its folder. The package mindspore-lite of the registry does not have it")


def run(model: Path, soc: str, aoe_mode: str, output: Path | None) -> Path:
    """Write the configuration file, convert the model, and write the manifest of the result.

    Returns:
        The path of the converted model.

    Raises:
        UserError: an argument is wrong, there is no converter_lite, or it fails.
    """
    if model.suffix != ".mindir":
        raise UserError(f"MODEL {model} must be a .mindir of export.py")
    manifest = read_manifest(model, "MODEL")
    require_fixed_batch(manifest, model)
    name = require_soc(soc).lower() if soc else "ascend"
    stem = str(output or model.with_name(f"{model.stem}_{name}")).removesuffix(".mindir")
    target = Path(f"{stem}.mindir")
    if target.resolve() == model.resolve():
        raise UserError(f"--output {target} is the model itself: choose another name")
    config = target.with_suffix(".converter.cfg")
    write_text(config, lite_config(manifest, soc, aoe_mode))
    print(f"wrote {config}")
    convert(manifest, model, target, config)
    return target


def convert(manifest: Manifest, model: Path, target: Path, config: Path) -> None:
    """Run converter_lite, and publish its file with a manifest."""
    converter, environment = find_converter(os.environ)
    if not converter:  # its command alone makes a file without a manifest, which all programs refuse
        raise UserError(f"there is no converter_lite, neither in PATH nor in MS_LITE_HOME. {WHERE}. On another host, "
                        f"run scripts/convert_lite_ascend.sh there, with {model} and {manifest_path(model).name}: it "
                        "also writes the manifest, which the converted file needs")
    with (owned(target.parent, "--output", f".{target.name}{OWNER}"),
          folder_beside(target, f"--output {target}: cannot write this file") as folder):
        partial = folder / "model.mindir"
        run_converter(lite_command(converter, manifest, model, partial, config), partial, environment,
                      ". It needs CANN: source its set_env.sh")
        publish(partial, manifest, target)


def find_converter(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the path of converter_lite, and the environment that it needs; "" if there is none."""
    found = shutil.which("converter_lite", path=environment.get("PATH"))
    if found:
        return found, dict(environment)
    home = environment.get("MS_LITE_HOME") or environment.get("LITE_HOME")
    tools = Path(home or "", "tools/converter")
    program = tools / "converter/converter_lite"
    if not home or not os.access(program, os.X_OK):
        return "", dict(environment)
    paths = [str(tools / "lib"), *filter(None, [environment.get("LD_LIBRARY_PATH")])]
    return str(program), {**environment, "LD_LIBRARY_PATH": os.pathsep.join(paths)}


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Convert a model and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.mindir", type=nonempty("MODEL", Path))
    parser.add_argument("soc", metavar="SOC", nargs="?", type=nonempty("SOC"))
    parser.add_argument("--aoe", choices=AOE_MODES, default="")
    parser.add_argument("--output", metavar="NAME", type=nonempty("--output", Path))
    arguments = parser.parse_args(argv)
    target = run(arguments.model, arguments.soc or "", arguments.aoe, arguments.output)
    print(f"converted {target} and {manifest_path(target).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
