"""Servers of these tests' own."""

from tests.support.servers_fixture import servers

__all__ = ["servers"]
