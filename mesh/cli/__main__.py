"""`python -m mesh.cli`: the same as `soma`."""

from __future__ import annotations

import sys

from mesh.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
