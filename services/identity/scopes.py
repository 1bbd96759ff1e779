"""Reads the scopes of all methods of the platform from their annotations."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soma
from soma.options.v1 import options_pb2

from services.identity.domain.scopes import ScopeCatalogue


def read_catalogue() -> ScopeCatalogue:
    """Import every service's contract and collect what its methods ask for."""
    return ScopeCatalogue(scope for scope in _scopes() if scope)


def _scopes() -> Iterator[str]:
    for root in soma.__path__:
        for file in sorted(Path(root).glob("*/v1/service_pb2.py")):
            contract: Any = importlib.import_module(f"soma.{file.parent.parent.name}.v1.service_pb2")
            for service in contract.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    yield method.GetOptions().Extensions[options_pb2.method].scope
