"""W3C trace context: well-formed headers live on, others start a new trace."""

import pytest

from mesh.runtime import trace

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_header_is_read_and_written_alike() -> None:
    found = trace.parse(GOOD)
    assert found is not None
    assert found.sampled
    assert found.header() == GOOD


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        GOOD + "-00",
        GOOD.upper(),
        GOOD.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD.replace("4bf9", "zzzz"),
    ],
)
def test_a_malformed_header_is_no_trace(bad: str | None) -> None:
    assert trace.parse(bad) is None


def test_a_new_trace_has_a_header_that_can_be_read() -> None:
    made = trace.new_trace()
    assert trace.parse(made.header()) == made
