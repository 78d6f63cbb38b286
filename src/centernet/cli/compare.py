"""Compare two runs on one HTML page.

    centernet compare results_a results_b
    centernet compare runs/first runs/second --out comparison.html

A run is the result folder of eval (with --report true, its page compares errors and settings, too), or the folder of a
training: then the page has the curves of loss and AP.
"""
from __future__ import annotations

import argparse
import logging
from pathlib import Path

from centernet.cli.console import set_up_log
from centernet.cli.process import print_every_text
from centernet.errors import LISTED_PROBLEMS, UserError, is_empty, nonempty, printable, reports_errors
from centernet.files import write_text
from centernet.program import command, program

LOG = logging.getLogger("centernet")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Parse argv, write the page, return the exit status."""
    from centernet.evaluation.html_report.compare_runs import comparison_page, read_run, require_common
    from centernet.evaluation.html_report.compared_data import differences

    print_every_text()
    parser = argparse.ArgumentParser(prog=program("compare"), description="Compare two runs on one HTML page.",
                                     allow_abbrev=False, exit_on_error=False)
    parser.add_argument("runs", nargs="*", metavar="RUN",
                        help="two folders: results of eval, or of trainings")
    parser.add_argument("--out", default="comparison.html", metavar="FILE",
                        type=nonempty("--out", Path, "name the page to write"),
                        help="page to write (default: %(default)s)")
    try:
        given, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}. `{program('compare')} --help` lists the flags.") from error
    if unknown:
        words = ", ".join(printable(word) for word in unknown[:LISTED_PROBLEMS])
        raise UserError(f"{program('compare')}: unknown argument{'s' * (len(unknown) > 1)} {words}. "
                        f"`{program('compare')} --help` lists the flags.")
    if len(given.runs) != 2:
        raise UserError(f"{program('compare')} needs two folders, found {len(given.runs)}: {command('compare')} RUN_A "
                        "RUN_B")
    if any(map(is_empty, given.runs)):  # Path("") is the current folder
        raise UserError("one of the two folders is empty: is a variable of your shell not set?")
    set_up_log("")
    first, second = (read_run(Path(run)) for run in given.runs)
    require_common(first, second)
    write_text(given.out, comparison_page(first, second))
    for letter, run in zip("AB", (first, second)):
        known = f"AP {run.numbers['AP']:.3f}" if run.numbers else "no AP"
        LOG.info("%s: %s (%s)", letter, printable(run.folder), known)
    for line in differences(first.data, second.data):
        LOG.warning("warning: %s", line)
    LOG.info("comparison: %s", printable(given.out))
    return 0
