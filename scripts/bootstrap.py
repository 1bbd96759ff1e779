"""The way from a bare machine to `soma`: `python3 scripts/bootstrap.py [--dev] MODULE ARGUMENTS...`.

Makes the two virtual environments where they are missing or outdated, then becomes
`python -m MODULE ARGUMENTS...` in the platform's one. Standard library only, and readable by an old
Python as far as the line that asks for a newer one.
"""

# ruff: noqa: UP031, PTH100, PTH120, S606 - an old Python must be able to read and run this file

import os
import shutil
import sys

OLDEST = (3, 11)


def newer_python():
    """Give a fitting Python on PATH, or None."""
    names = ["python3.%d" % minor for minor in (13, 12, 11)]
    return next((path for path in map(shutil.which, names) if path), None)


def main():
    """Install, then become the wanted command."""
    if sys.version_info < OLDEST:
        python = newer_python()
        if python is None:
            sys.stderr.write(
                "soma: Python %d.%d is too old. Fix: install Python 3.11 or newer [PYTHON_TOO_OLD]\n"
                % sys.version_info[:2]
            )
            return 1
        os.execv(python, [python, *sys.argv])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, root)
    from mesh.stack.install import first

    return first.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
