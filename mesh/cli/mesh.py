"""`soma mesh`: what operators see of the mesh and do to it, with the operator's certificate.

Speaks to the control plane itself, never through the edge. Where it is comes from SOMA_XDS_TARGET,
else from what the launcher wrote into SOMA_HOME.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mesh.cli.client import SECONDS, failures
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Output, OutputOption, clean, say, show, show_rows, when

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from soma.mesh.v1 import service_pb2_grpc

    from mesh.stack.home import Home

app = typer.Typer(no_args_is_help=True, help="Operate the mesh.")
canary = typer.Typer(no_args_is_help=True, help="Run a second version of a service beside the first.")
app.add_typer(canary, name="canary")
OPERATOR = "operator"
TAKE_OUT_SECONDS = 5.0


@app.command()
def status(output: OutputOption = Output.TABLE) -> None:
    """Show who talks to whom, with rates, errors and identities."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        found = stub.GetMeshStatus(service_pb2.GetMeshStatusRequest(), timeout=SECONDS)
    if output is not Output.TABLE:
        show(found, output)
        return
    show_rows(
        found.processes,
        output,
        [
            ("process", lambda p: p.process),
            ("version", lambda p: p.version),
            ("state", _state),
            ("address", lambda p: p.address),
            ("identity", lambda p: p.certificate.spiffe_id),
            ("valid until", lambda p: when(p.certificate.not_after)),
            ("message", lambda p: p.message),
        ],
    )
    for split in found.splits:
        if split.canary_percent:
            share = f"{split.canary_percent} % to the canary since {when(split.set_time)}"
            print(f"\n{clean(split.service)}: {share}")
    _show_calls(found.processes)


@app.command()
def proxies(output: OutputOption = Output.TABLE) -> None:
    """Show what each proxy was sent, what it took, and what differs."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        found = stub.ListProxies(service_pb2.ListProxiesRequest(), timeout=SECONDS)
    if output is not Output.TABLE:
        show(found, output)
        return
    for proxy in found.proxies:
        state = "connected" if proxy.connected else "away"
        print(f"{clean(proxy.id)} (Envoy {clean(proxy.version)}), {state} since {when(proxy.connect_time)}")
        show_rows(
            proxy.resources,
            output,
            [
                ("type", lambda r: r.type),
                ("sent", lambda r: r.sent_version),
                ("acked", lambda r: r.acked_version),
                ("at", lambda r: when(r.ack_time)),
                ("resources", lambda r: len(r.names)),
                ("differs", lambda r: ", ".join(r.differing)),
                ("refused because", lambda r: r.nack_message),
            ],
        )


@app.command()
def certs(output: OutputOption = Output.TABLE) -> None:
    """List the certificates of this installation."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        found = stub.ListCertificates(service_pb2.ListCertificatesRequest(), timeout=SECONDS)
    _show_certificates(found.certificates, output)


@app.command()
def rotate(
    workloads: Annotated[list[str] | None, typer.Argument(help="Which; all without any.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Issue new certificates; running calls go on."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        request = service_pb2.RotateCertificatesRequest(workloads=workloads or [])
        found = stub.RotateCertificates(request, timeout=SECONDS)
    _show_certificates(found.certificates, output)


@app.command()
def drain(
    process: Annotated[str, typer.Argument(help="Process name, as in `soma status`.")],
    grace: Annotated[float, typer.Option(min=0, help="Seconds that running calls get.")] = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a process out of the traffic and let its calls end; it comes back restarted."""
    from google.protobuf import duration_pb2
    from soma.mesh.v1 import service_pb2

    given = duration_pb2.Duration()
    given.FromNanoseconds(int(grace * 1e9))
    with _control_plane() as stub:
        request = service_pb2.DrainProcessRequest(process=process, grace=given)
        show(stub.DrainProcess(request, timeout=SECONDS + TAKE_OUT_SECONDS), output)


@app.command()
def shift(
    share: Annotated[str, typer.Argument(help="SERVICE=canary:PERCENT, as orchestrator=canary:10.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a share of a service's calls to its canary."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        service, percent = _share(share)
        request = service_pb2.ShiftTrafficRequest(service=service, canary_percent=percent)
        show(stub.ShiftTraffic(request, timeout=SECONDS), output, _SPLIT)


@app.command()
def rollback(
    service: Annotated[str, typer.Argument(help="The service.")], output: OutputOption = Output.TABLE
) -> None:
    """Send all calls of a service to its stable version again."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        request = service_pb2.RollbackTrafficRequest(service=service)
        show(stub.RollbackTraffic(request, timeout=SECONDS), output, _SPLIT)


@app.command()
def tap(
    processes: Annotated[list[str] | None, typer.Argument(help="Which; all without any.")] = None,
    method: Annotated[str, typer.Option(help="Only methods that start with this.")] = "",
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="End after so many; 0 never.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show live calls, without their content."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        request = service_pb2.TapMeshRequest(processes=processes or [], method_prefix=method)
        for number, record in enumerate(stub.TapMesh(request), start=1):
            _show_call(record, output)
            if number == count:
                return


@canary.command("start")
def start_canary(
    service: Annotated[str, typer.Argument(help="The service.")],
    code: Annotated[Path | None, typer.Option(help="A checkout to run it from; this one without.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the canary only.")] = None,
) -> None:
    """Start a canary; it takes no calls until `soma mesh shift` sends it some."""
    settings = dict(one.partition("=")[::2] for one in env or [])
    request: dict[str, object] = {"op": "start-canary", "service": service, "env": settings}
    if code is not None:
        request["code"] = str(code.resolve())
    _tell_supervisor(request)
    say(f"the canary of {service} runs; `soma mesh shift {service}=canary:10` sends it calls")


@canary.command("stop")
def stop_canary(service: Annotated[str, typer.Argument(help="The service.")]) -> None:
    """Send all calls to stable, then stop the canary."""
    from soma.mesh.v1 import service_pb2

    with _control_plane() as stub:
        stub.RollbackTraffic(service_pb2.RollbackTrafficRequest(service=service), timeout=SECONDS)
    _tell_supervisor({"op": "stop-canary", "service": service})
    say(f"the canary of {service} is stopped")


_SPLIT = [
    ("service", lambda s: s.service),
    ("canary percent", lambda s: s.canary_percent),
    ("since", lambda s: when(s.set_time)),
]


def _state(process: Any) -> str:
    return "ready" if process.ready else "not ready" if process.reachable else "unreachable"


def _show_calls(processes: Any) -> None:
    rows = [(process, call) for process in processes for call in process.calls]
    if not rows:
        return
    print(
        f"\n{'CALLER':<20} {'PROCESS':<20} {'METHOD':<52} {'RATE/S':>8} {'CALLS':>8} {'ERRORS':>7} P50/P95 MS"
    )
    for process, call in sorted(rows, key=lambda row: (-row[1].rate, row[1].caller)):
        times = f"{_milliseconds(call.p50)}/{_milliseconds(call.p95)}"
        print(
            f"{clean(call.caller):<20} {clean(process.process):<20} {clean(call.method):<52} "
            f"{call.rate:>8.1f} {call.calls:>8} {call.errors:>7} {times}"
        )


def _show_certificates(certificates: Any, output: Output) -> None:
    show_rows(
        certificates,
        output,
        [
            ("identity", lambda c: c.spiffe_id),
            ("serial", lambda c: c.serial),
            ("valid from", lambda c: when(c.not_before)),
            ("valid until", lambda c: when(c.not_after)),
            ("issuer", lambda c: c.issuer),
        ],
    )


def _show_call(record: Any, output: Output) -> None:
    if output is not Output.TABLE:
        show(record, output)
        return
    fields = " ".join(f"{name}={value}" for name, value in sorted(record.fields.items()))
    reason = f" {record.reason}" if record.reason else ""
    line = (
        f"{when(record.time)} {record.caller} -> {record.process} {record.method} {record.code}{reason} "
        f"{_milliseconds(record.duration)} ms tenant={record.tenant or '-'} {record.request_id} {fields}"
    )
    print(clean(line).rstrip(), flush=True)


def _milliseconds(duration: Duration) -> str:
    return f"{duration.ToNanoseconds() / 1e6:.1f}"


def _share(text: str) -> tuple[str, int]:
    service, _, rest = text.partition("=")
    version, _, percent = rest.partition(":")
    if not service or version != "canary" or not percent.isdigit():
        raise Failure(f"{text!r} is not SERVICE=canary:PERCENT", Exit.USAGE, "INVALID_ARGUMENT")
    return service, int(percent)


def _tell_supervisor(request: dict[str, object]) -> None:
    from mesh.stack import client

    client.tell(_home(), request)


def _home() -> Home:
    from mesh.stack.home import Home

    return Home.from_environment(os.environ)


@contextmanager
def _control_plane() -> Iterator[service_pb2_grpc.ControlPlaneStub]:
    """Open a channel as the operator; a failure inside is one line on stderr and an exit code."""
    import grpc
    from soma.mesh.v1 import service_pb2_grpc

    from mesh.pki.errors import PkiError
    from mesh.pki.files import read_identity
    from mesh.pki.workloads import workload

    with failures():
        home = _home()
        try:
            own = read_identity(home.pki / OPERATOR)
        except PkiError as error:
            raise Failure(str(error), Exit.UNAUTHENTICATED, "NO_CERTIFICATE", "run `soma up`") from error
        credentials = grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.chain_pem)
        options = (
            ("grpc.ssl_target_name_override", workload("xds").server_name),
            ("grpc.enable_http_proxy", 0),
        )
        with grpc.secure_channel(_target(home), credentials, options) as channel:
            yield service_pb2_grpc.ControlPlaneStub(channel)


def _target(home: Home) -> str:
    from mesh.xds.errors import XdsError
    from mesh.xds.members import read_members

    given = os.environ.get("SOMA_XDS_TARGET")
    if given:
        return given
    try:
        members = read_members(home.endpoints)
    except XdsError as error:
        raise Failure("the stack does not run", Exit.UNAVAILABLE, "NOT_RUNNING", "run `soma up`") from error
    for member in members:
        if member.service == "xds":
            return f"ipv4:{member.address}"
    raise Failure("the control plane does not run", Exit.UNAVAILABLE, "NOT_RUNNING", "run `soma up`")
