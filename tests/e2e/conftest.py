"""Fixtures of the end-to-end tests: one user in a fresh tenant on the shared stack."""

from tests.support.users import edge, http, stranger

__all__ = ["edge", "http", "stranger"]
