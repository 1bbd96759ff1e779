"""Servers of these tests' own, and logs that are one line each."""

import pytest

from mesh.runtime import logging as process_logging
from tests.support.servers_fixture import servers

__all__ = ["servers"]


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    process_logging.configure(process="tests", level="warning")
