"""`soma audit`: the record of what was done."""

from __future__ import annotations

from typing import Annotated

import typer

from mesh.cli.client import edge
from mesh.cli.failures import Exit
from mesh.cli.output import Cell, LimitOption, Output, OutputOption, first, say, show, show_rows, when

app = typer.Typer(no_args_is_help=True, help="List audit records; verify that none was changed.")
_VERIFY_SECONDS = 600.0
_RECORDS: tuple[Cell, ...] = (
    ("index", lambda row: row.index),
    ("time", lambda row: when(row.record.time)),
    ("action", lambda row: row.record.action),
    ("outcome", lambda row: row.record.outcome),
    ("actor", lambda row: row.record.actor),
    ("resource", lambda row: row.record.resource),
    ("id", lambda row: row.record.id),
)
_CHAIN: tuple[Cell, ...] = (
    ("valid", lambda row: "yes" if row.valid else "no"),
    ("records", lambda row: row.record_count),
    ("first invalid", lambda row: row.first_invalid_index or "none"),
    ("head", lambda row: row.head_hash.hex()),
)


@app.command("list")
def list_records(
    action: Annotated[str, typer.Option(help="Only records of this action.")] = "",
    resource: Annotated[str, typer.Option(help="Only records of this resource.")] = "",
    limit: LimitOption = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List records, oldest first."""
    with edge() as open_edge:
        from soma.audit.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.RecordsStub)
        request = service_pb2.ListRecordsRequest(action=action, resource=resource)
        show_rows(first(limit, open_edge.pages(stub.ListRecords, request, "records")), output, _RECORDS)


@app.command()
def verify(output: OutputOption = Output.TABLE) -> None:
    """Recompute the tenant's chain; the exit code is 1 where a record does not fit."""
    with edge() as open_edge:
        from soma.audit.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.RecordsStub)
        found = stub.VerifyChain(service_pb2.VerifyChainRequest(), timeout=_VERIFY_SECONDS)
        show(found, output, _CHAIN)
        if not found.valid:
            say(f"record {found.first_invalid_index} does not fit: the log was changed")
            raise typer.Exit(int(Exit.FAILED))
