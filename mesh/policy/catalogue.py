"""Every scope of the contracts: what a token may carry is what some method asks for."""

from importlib import import_module
from pathlib import Path

import soma
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from mesh.runtime.contract import contract_of


def scopes() -> frozenset[str]:
    """Collect the scopes of all methods of all domains."""
    names = (contract.scope for each in services() for contract in map(contract_of, each.methods) if contract)
    return frozenset(name for name in names if name)


def services() -> list[ServiceDescriptor]:
    """Give every service of the contracts."""
    files: list[FileDescriptor] = [
        import_module(f"soma.{path.parent.parent.name}.v1.service_pb2").DESCRIPTOR
        for root in soma.__path__
        for path in sorted(Path(root).glob("*/v1/service_pb2.py"))
    ]
    return [service for file in files for service in file.services_by_name.values()]
