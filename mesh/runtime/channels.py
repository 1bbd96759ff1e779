"""Channels to the other workloads of the mesh.

Every channel is mTLS, balances round robin over the addresses of its target, and
proves whom it talks to by the DNS name `<workload>.soma` that only that
workload's certificate carries. Calls take the caller's token, request id, trace
and deadline with them. After a rotation new calls go over a new connection and
the old one ends when its last call has ended.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from mesh.runtime.certificates import Certificate, Certificates
from mesh.runtime.contract import idempotent_by_path
from mesh.runtime.outgoing import OutgoingCall

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 1),
)
_RETRY: Final = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 3,
    # CANCELLED: what a server says to calls that come in the moment in which it shuts down.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
# While most calls of a channel fail no call is tried again: retries must not feed an outage.
_THROTTLING: Final = {"maxTokens": 50, "tokenRatio": 0.2}


def service_config(paths: Sequence[str]) -> str:
    """Return the gRPC service config: round robin, and retries for the methods of `paths`."""
    names = [dict(zip(("service", "method"), path[1:].split("/"), strict=True)) for path in paths]
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        config["methodConfig"] = [{"name": names, "retryPolicy": _RETRY}]
        config["retryThrottling"] = _THROTTLING
    return json.dumps(config)


class _Generation:
    """One real channel, made with one certificate; closed when idle after it was retired."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._active = 0
        self._retired: Callable[[], None] | None = None

    def watch(self, call: Any) -> None:
        """Count a call in; it counts itself out."""
        self._active += 1
        call.add_done_callback(self._ended)

    def retire(self, idle: Callable[[], None]) -> None:
        """Call `idle` as soon as no call runs here."""
        self._retired = idle
        if not self._active:
            idle()

    def _ended(self, _call: Any) -> None:
        self._active -= 1
        if self._retired is not None and not self._active:
            self._retired()


class _Callable:
    """A multi-callable that finds the present channel at each call."""

    def __init__(self, owner: "MeshChannel", kind: str, path: str, codecs: tuple[Any, Any]) -> None:
        self._owner = owner
        self._kind = kind
        self._path = path
        self._codecs = codecs
        self._outgoing = OutgoingCall.of(path, kind)
        self._generation: _Generation | None = None
        self._inner: Any = None

    def __call__(  # noqa: PLR0917 - the signature of grpc.aio
        self,
        request: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        generation = self._owner.generation()
        if generation is not self._generation:
            make = getattr(generation.channel, self._kind)
            self._inner = make(self._path, *self._codecs)
            self._generation = generation
        call = self._inner(
            self._outgoing.prepare(request),
            timeout=self._outgoing.timeout(timeout),
            metadata=self._outgoing.metadata(metadata),
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )
        generation.watch(call)
        return call


class MeshChannel(grpc.aio.Channel):
    """A `grpc.aio.Channel` to one workload that outlives its certificates."""

    def __init__(
        self, *, target: str, workload: str, certificates: Certificates, max_message_bytes: int
    ) -> None:
        """Prepare the channel; it connects at the first call."""
        self.target = target
        self.workload = workload
        self._certificates = certificates
        self._max_message_bytes = max_message_bytes
        self._retryable: set[str] = set()
        self._present: _Generation | None = None
        self._closing: set[Any] = set()
        self._closed = False
        certificates.subscribe(self._rotate)

    def generation(self) -> _Generation:
        """Return the present connection, made now if there is none."""
        if self._closed:
            raise grpc.aio.UsageError(f"the channel to {self.workload} is closed")
        if self._present is None:
            self._present = _Generation(self._connect())
        return self._present

    async def close(self, grace: float | None = None) -> None:
        """Close every connection; running calls get `grace` seconds."""
        self._closed = True
        if self._present is not None:
            await self._present.channel.close(grace)
            self._present = None
        for closing in tuple(self._closing):
            await closing

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the connectivity of the present connection."""
        return self.generation().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the present connection's state differs."""
        await self.generation().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the present connection is ready."""
        await self.generation().channel.channel_ready()

    async def __aenter__(self) -> "MeshChannel":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """Make the callable of a unary method."""
        return self._callable("unary_unary", method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """Make the callable of a method that streams its responses."""
        return self._callable("unary_stream", method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """Make the callable of a method that streams its requests."""
        return self._callable("stream_unary", method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """Make the callable of a method that streams both ways."""
        return self._callable("stream_stream", method, request_serializer, response_deserializer)

    def _callable(self, kind: str, path: str, serializer: Any, deserializer: Any) -> _Callable:
        if idempotent_by_path(path) and path not in self._retryable:
            # The retry policy is fixed when a connection is made.
            self._retryable.add(path)
            self._renew()
        return _Callable(self, kind, path, (serializer, deserializer))

    def _connect(self) -> grpc.aio.Channel:
        own = self._certificates.current
        credentials = grpc.ssl_channel_credentials(own.authority, own.key, own.chain)
        return grpc.aio.secure_channel(
            self.target,
            credentials,
            options=(
                *_OPTIONS,
                ("grpc.ssl_target_name_override", f"{self.workload}.soma"),
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.service_config", service_config(sorted(self._retryable))),
            ),
        )

    def move(self, target: str) -> None:
        """Send new calls to another address; the running ones end where they are."""
        if target != self.target:
            self.target = target
            self._renew()

    def _rotate(self, _certificate: Certificate) -> None:
        self._renew()

    def _renew(self) -> None:
        old, self._present = self._present, None
        if old is None:
            return

        def close_old() -> None:
            task = asyncio.get_running_loop().create_task(old.channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

        old.retire(close_old)
