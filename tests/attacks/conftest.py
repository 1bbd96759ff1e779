"""Fixtures of the attacks: users of the shared stack."""

from tests.support.users import edge, http, stranger

__all__ = ["edge", "http", "stranger"]
