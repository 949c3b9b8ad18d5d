"""`regard calibrate`: how this machine compares with the one whose constants plans go by."""

from __future__ import annotations

from collections.abc import Sequence

from regard.cli.options import parse, parser, take_threads, threads_option
from regard.cli.table import print_table

__all__ = ["run"]

_DESCRIPTION = """How much longer each executor takes on this machine than on the one that was measured for its class of processors.
Plans multiply their estimates by these factors. They are measured when a plan first needs them, in under two seconds once the
kernels are compiled, and cached by processor, versions and threads; REGARD_CALIBRATE=0 switches that off."""


def run(arguments: Sequence[str]) -> int:
    options = parser("calibrate", _DESCRIPTION)
    options.add_argument("--again", action="store_true", help="measure anew, even where a measurement is cached")
    threads_option(options)
    chosen = parse(options, arguments)
    take_threads(chosen.threads)

    import torch

    from regard.attention import calibration, costs
    from regard.attention.planning import EXECUTORS

    found = None if chosen.again else calibration.cached()
    if found is None:
        found = calibration.calibrate(EXECUTORS)
    print(f"processor  {calibration.processor()}, class {costs.processor_class()}, {torch.get_num_threads()} threads")
    print(f"constants  {found.source}")
    if found.factors:
        print(f"file       {calibration.place()}\n")
        print_table(
            ["executor", "times as long as its class"], [[name, f"{x:.3g}"] for name, x in found.factors.items()]
        )
    return 0
