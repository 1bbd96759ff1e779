"""When Python looks for reference cycles: seldom, and never again among what a process is made of.

With the defaults a process that serves goes through all its modules, descriptors and connections again and
again, since calls make and drop objects by the thousand. What is there once the process is wired lives as
long as the process, so it is set aside; the young are looked at after more of them came.
"""

import gc
from typing import Final

_YOUNG: Final = 20_000
"""Containers; a few megabytes at most wait for a collection."""
_MIDDLE: Final = 20
_OLD: Final = 20


def settle() -> None:
    """Collect once, set everything that is left aside, and look seldom from then on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
