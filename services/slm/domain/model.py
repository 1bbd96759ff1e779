"""What the catalogue knows of a model."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


class Provider(enum.IntEnum):
    """Who answers; the numbers are the contract's."""

    TRITON = 1
    OPENAI = 2
    ANTHROPIC = 3


class Task(enum.IntEnum):
    """What a model does; the numbers are the contract's."""

    GENERATE = 1
    EXTRACT = 2
    EMBED = 3


class Dialect(enum.IntEnum):
    """How Triton wants a request; the numbers are the contract's."""

    VLLM = 1
    TRTLLM = 2
    TRTLLM_LLMAPI = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A profile, without its key."""

    name: str
    provider: Provider
    task: Task
    provider_model: str
    base_url: str = ""
    dialect: Dialect = Dialect.VLLM
    context_tokens: int
    max_output_tokens: int
    slots: int
    description: str
    create_time: datetime | None = None
    has_api_key: bool = False
    built_in: bool = False
    bootstrap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A profile that all tenants have, and where its tokenizer lies."""

    model: Model
    tokenizer: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a model answers."""

    model: str
    ready: bool
    message: str
    latency_ms: float
    check_time: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """The name of a mutation, by which a repeat of it is known, and the digest of its content."""

    id: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What was done, for the audit log: no keys, no content."""

    action: str
    actor: str
    resource: str
    time: datetime
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: what comes after `after`."""

    size: int
    after: str = ""
