"""The messages of Qdrant's gRPC protocol, without Qdrant's client.

`qdrant_client.grpc` holds the generated messages, but importing it imports the whole client first
(1.6 s of pydantic models and HTTP, against 0.1 s for the messages). So the package's folder is put
in place of the package for the moment of the import; a later `import qdrant_client` is a real one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdrant_client import grpc as messages

PACKAGE = "qdrant_client"


def _load() -> types.ModuleType:
    if PACKAGE in sys.modules:
        return importlib.import_module(f"{PACKAGE}.grpc")
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{PACKAGE} is not installed")
    folder = types.ModuleType(PACKAGE)
    folder.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = folder
    try:
        return importlib.import_module(f"{PACKAGE}.grpc")
    finally:
        del sys.modules[PACKAGE]


if not TYPE_CHECKING:
    messages = _load()

__all__ = ["messages"]
