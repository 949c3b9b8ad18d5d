"""No result without conformance: what is measured must mean what it says.

    python -m benchmarks.conformance [avx2]

runs the part of the conformance suite that compares outputs, gradients and dropout of every executor with the float64 reference.
A green run leaves a stamp with a hash of the sources, and is not repeated until they change. With `avx2` it runs as on a
processor without AVX-512 (`benchmarks.narrow`), for the executors that have kernels of their own: what the others compute with is
torch's. Where the processor has no AVX-512 this is what the suite does anyway.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import narrow

__all__ = ["KERNELS", "SELECTION", "ensure", "ensure_narrow", "fingerprint", "main"]

ROOT = Path(__file__).parent.parent
STAMP = ROOT / "build" / "conformance"
# The suite's other checks are about single properties; these three compare every number.
SELECTION = "test_equals_the_meaning or test_drops_like_the_meaning"
KERNELS = "fused or additive or edges or kernelized"
SOURCES = ("regard/attention/**/*.py", "regard/kernels/**/*.py", "regard/sets/*.py", "tests/attention/*.py")


_SUITE = ("-m", "pytest", "-q", "-x", "-n", "2", "tests/attention/test_conformance.py")


def fingerprint(root: Path = ROOT) -> str:
    """A hash of all that the suite reads."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def ensure(stamp: Path = STAMP, command: list[str] | None = None) -> str | None:
    """Why nothing may be reported, or None: runs the suite unless a green run of these very sources left its stamp."""
    now = fingerprint()
    if stamp.exists() and stamp.read_text() == now:
        return None
    suite = [sys.executable, *_SUITE]
    print("running the conformance suite ...", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command or [*suite, "-k", SELECTION], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()
        return f"the conformance suite is red, expected green: {last[-1] if last else 'it said nothing'}"
    if fingerprint() != now:
        return "the sources changed while the conformance suite ran, expected them to stay"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(now)
    return None


def ensure_narrow(name: str) -> str | None:
    """As `ensure`, on a processor of a narrower class; None too where this one is no wider."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        print("left out, because this processor has no AVX-512: the suite runs in the narrower form anyway")
        return None
    command = [sys.executable, "-m", "benchmarks.narrow", name, *_SUITE, "-k", f"({SELECTION}) and ({KERNELS})"]
    return ensure(STAMP.with_name(f"{STAMP.name}-{name}"), command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite where there is no stamp, and say how it went; 2 where the class is unknown."""
    given = sys.argv[1:] if arguments is None else arguments
    if list(given) not in ([], *([name] for name in narrow.CLASSES)):
        print(
            f"there is no class {' '.join(given)!r}, expected {', '.join(narrow.CLASSES)} or nothing", file=sys.stderr
        )
        return 2
    refusal = ensure_narrow(given[0]) if given else ensure()
    print(refusal or "the conformance suite is green")
    return 1 if refusal else 0


if __name__ == "__main__":
    sys.exit(main())
