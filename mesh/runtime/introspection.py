"""`soma.mesh.v1.Introspection`, served by every process for the operator's tools."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from google.protobuf import duration_pb2, timestamp_pb2
from soma.mesh.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.callstats import CallStats
from mesh.runtime.certificates import Certificate, Certificates
from mesh.runtime.context import CallContext, current
from mesh.runtime.errors import ResourceExhausted
from mesh.runtime.health import Health
from mesh.runtime.hooks import ServicerContext
from mesh.runtime.inflight import InFlight
from mesh.runtime.settings import ProcessSettings
from mesh.runtime.tap import TapHub

_DEFAULT_GRACE: Final = 30.0


class Introspection(service_pb2_grpc.IntrospectionServicer):
    """What a process tells of itself: calls, state, certificate; and its drain."""

    def __init__(
        self,
        *,
        settings: ProcessSettings,
        stats: CallStats,
        inflight: InFlight,
        health: Health,
        taps: TapHub,
        certificates: Certificates,
        drain: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._stats = stats
        self._inflight = inflight
        self._health = health
        self._taps = taps
        self._certificates = certificates
        self._drain = drain

    async def GetStats(
        self, request: service_pb2.GetStatsRequest, context: ServicerContext
    ) -> service_pb2.GetStatsResponse:
        """Return state, certificate, and who calls this process."""
        waiting = self._health.explain()
        return service_pb2.GetStatsResponse(
            process=resources_pb2.ProcessStatus(
                process=self._settings.name,
                workload=self._settings.workload,
                version=self._settings.version_label,
                address=self._settings.listen,
                reachable=True,
                ready=self._health.ready,
                certificate=describe(self._certificates.current),
                calls=list(self._calls()),
                message="; ".join(f"{name}: {cause}" for name, cause in waiting.items()),
            )
        )

    async def TapCalls(
        self, request: service_pb2.TapCallsRequest, context: ServicerContext
    ) -> AsyncIterator[resources_pb2.TapRecord]:
        """Stream the calls that end from now on."""
        try:
            with self._taps.listen(request.method_prefix) as listener:
                while True:
                    record = await listener.records.get()
                    if listener.missed:
                        record.fields["missed"] = str(listener.missed)
                        listener.missed = 0
                    yield record
        except OverflowError as error:
            raise ResourceExhausted("QUEUE_FULL", str(error), retry_after=5) from error

    async def Drain(
        self, request: service_pb2.DrainRequest, context: ServicerContext
    ) -> service_pb2.DrainResponse:
        """Begin the drain; the answer comes first."""
        running = self._running(besides=current())
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else _DEFAULT_GRACE
        asyncio.get_running_loop().call_soon(self._drain, grace)
        return service_pb2.DrainResponse(in_flight=running)

    def _running(self, *, besides: CallContext) -> int:
        return sum(call is not besides for call in self._inflight.calls)

    def _calls(self) -> list[resources_pb2.CallStats]:
        running: dict[tuple[str, str], int] = {}
        for call in self._inflight.calls:
            key = (call.caller, call.method[1:])
            running[key] = running.get(key, 0) + 1
        rows = []
        for series in self._stats.series():
            method = f"{series.service}/{series.method}"
            rows.append(
                resources_pb2.CallStats(
                    caller=series.caller,
                    method=method,
                    calls=series.count,
                    errors=series.server_errors,
                    in_flight=running.pop((series.caller, method), 0),
                    rate=series.rate(),
                    p50=_duration(series.quantile(0.5)),
                    p95=_duration(series.quantile(0.95)),
                )
            )
        rows += [
            resources_pb2.CallStats(caller=caller, method=method, in_flight=count)
            for (caller, method), count in running.items()
        ]
        return rows


def describe(certificate: Certificate) -> resources_pb2.Certificate:
    """Return what people compare of a certificate: identity, serial, fingerprint, validity."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    leaf = x509.load_pem_x509_certificates(certificate.chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    issuer = leaf.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    begin, end = timestamp_pb2.Timestamp(), timestamp_pb2.Timestamp()
    begin.FromDatetime(leaf.not_valid_before_utc)
    end.FromDatetime(leaf.not_valid_after_utc)
    return resources_pb2.Certificate(
        spiffe_id=uris[0] if uris else "",
        serial=f"{leaf.serial_number:x}",
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        not_before=begin,
        not_after=end,
        issuer=str(issuer[0].value) if issuer else "",
    )


def _duration(seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made
