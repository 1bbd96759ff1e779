"""The things that memory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Something remembered."""

    id: str
    text: str
    session_id: str
    labels: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document in the version that is retrieved."""

    id: str
    title: str
    source: str
    media_type: str
    digest: str
    passage_count: int
    labels: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document with the place that it comes from."""

    id: str
    document_id: str
    title: str
    source: str
    headings: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Generic[Thing]):
    """Something found, and how near it is to the query, 0 to 1."""

    found: Thing
    score: float
