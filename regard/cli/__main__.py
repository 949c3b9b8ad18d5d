"""`python -m regard.cli` is the `regard` command; so `torchrun -m regard.cli train ...` starts it in several processes."""

import sys

from regard.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
