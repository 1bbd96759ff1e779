"""The bytes of the readiness probes."""

from __future__ import annotations

import pytest

from mesh.stack.probes import DATA, health_request, http2_frame, is_http_ok


@pytest.mark.parametrize(
    ("line", "ok"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.0 200\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n", False),
        (b"", False),
    ],
)
def test_only_a_status_line_with_200_is_ready(line: bytes, *, ok: bool) -> None:
    assert is_http_ok(line) is ok


def test_a_frame_has_length_type_flags_and_stream() -> None:
    assert http2_frame(DATA, 1, 3, b"abc") == b"\x00\x00\x03\x00\x01\x00\x00\x00\x03abc"


def test_a_health_request_names_its_service() -> None:
    request = health_request("temporal.api")
    assert request.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"/grpc.health.v1.Health/Check" in request
    assert request.endswith(b"\x00\x00\x00\x00\x0e\x0a\x0ctemporal.api")


def test_a_health_request_of_the_whole_server_has_an_empty_message() -> None:
    assert health_request("").endswith(b"\x00\x00\x00\x00\x00")
