"""`soma tenant`: the border that no data crosses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Cell, Output, OutputOption, say, show, when
from mesh.cli.turns import new_request_id

app = typer.Typer(no_args_is_help=True, help="Create tenants; show your own.")
_TENANT: tuple[Cell, ...] = (
    ("id", lambda row: row.id),
    ("name", lambda row: row.display_name),
    ("created", lambda row: when(row.create_time)),
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    email: Annotated[str, typer.Option(help="Sign-in name of its first user, the owner.")],
    password_file: Annotated[
        Path | None, typer.Option(help="File with the owner's password; asked for where there is none.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a tenant with its first user. Takes the scope tenants.create."""
    with edge() as open_edge:
        from soma.identity.v1 import service_pb2, service_pb2_grpc

        request = service_pb2.CreateTenantRequest(
            display_name=name,
            owner_email=email,
            owner_password=_password(password_file),
            request_id=new_request_id(),
        )
        made = open_edge.stub(service_pb2_grpc.TenantsStub).CreateTenant(request, timeout=SECONDS)
        if output is Output.TABLE:
            show(made.tenant, output, _TENANT)
            say(f"owner {made.owner.email}, {made.owner.id}")
        else:
            show(made, output)


@app.command("show")
def show_tenant(
    tenant: Annotated[str, typer.Argument(help="The tenant's id; your own by default.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a tenant; another one than your own is not found."""
    with edge() as open_edge:
        from soma.identity.v1 import service_pb2, service_pb2_grpc

        if not tenant:
            tokens = open_edge.stub(service_pb2_grpc.TokensStub)
            tenant = tokens.WhoAmI(service_pb2.WhoAmIRequest(), timeout=SECONDS).tenant
        stub = open_edge.stub(service_pb2_grpc.TenantsStub)
        request = service_pb2.GetTenantRequest(tenant_id=tenant)
        show(stub.GetTenant(request, timeout=SECONDS), output, _TENANT)


def _password(file: Path | None) -> str:
    if file is None:
        asked: str = typer.prompt(
            "Password of the owner", hide_input=True, confirmation_prompt=True, err=True
        )
        return asked
    try:
        return file.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", Exit.USAGE) from error
