"""`soma key`: API keys of the tenant."""

from __future__ import annotations

from typing import Annotated

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.output import Cell, LimitOption, Output, OutputOption, first, say, show, show_rows, when
from mesh.cli.turns import new_request_id

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")
_KEYS: tuple[Cell, ...] = (
    ("id", lambda row: row.id),
    ("name", lambda row: row.display_name),
    ("subject", lambda row: row.subject),
    ("expires", lambda row: when(row.expire_time)),
    ("revoked", lambda row: when(row.revoke_time)),
    ("scopes", lambda row: len(row.scopes)),
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope, such as turns.create; repeatable. All by default.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Service account it acts as; yourself by default.")] = "",
    days: Annotated[int, typer.Option(min=0, max=3650, help="Days until it ends; 0 means 90.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a key and print its secret, which is shown this once."""
    with edge() as open_edge:
        from soma.identity.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.CreateApiKeyRequest(
            display_name=name,
            subject=subject,
            scopes=scope or (),
            valid_days=days,
            request_id=new_request_id(),
        )
        made = open_edge.stub(service_pb2_grpc.ApiKeysStub).CreateApiKey(request, timeout=SECONDS)
        if output is not Output.TABLE:
            show(made, output)
            return
        say(f"{made.api_key.id}, until {when(made.api_key.expire_time)}. The secret is shown this once:")
        print(made.secret)


@app.command("list")
def list_keys(limit: LimitOption = 50, output: OutputOption = Output.TABLE) -> None:
    """List keys, oldest first, without their secrets."""
    with edge() as open_edge:
        from soma.identity.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ApiKeysStub)
        rows = open_edge.pages(stub.ListApiKeys, service_pb2.ListApiKeysRequest(), "api_keys")
        show_rows(first(limit, rows), output, _KEYS)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, key_...")], output: OutputOption = Output.TABLE
) -> None:
    """Revoke a key, at the edge and in every service."""
    with edge() as open_edge:
        from soma.identity.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ApiKeysStub)
        request = service_pb2.RevokeApiKeyRequest(key_id=key)
        show(stub.RevokeApiKey(request, timeout=SECONDS), output, _KEYS)
