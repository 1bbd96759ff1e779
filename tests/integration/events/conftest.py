"""Logs that are one line each."""

import pytest

from mesh.runtime import logging as process_logging


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    process_logging.configure(process="tests", level="warning")
