"""Logs: one JSON object a line on stderr, with sensitive values taken out.

Every library's log goes the same way. Bodies are never logged; what a caller
gives under a sensitive key is replaced, whatever its depth.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mesh.runtime.context import current_or_none

REDACTED: Final = "[redacted]"
_SENSITIVE: Final = re.compile(
    r"(authorization|password|passphrase|secret|token|api_?key|private_?key|credential|cookie|"
    r"payload|body)s?\Z",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+@"
    r"|(?P<bearer>bearer )[^\s\"']+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",
    re.IGNORECASE,
)
_CHATTY: Final = {
    "aiokafka": logging.ERROR,  # says each failed reconnect several times
    "asyncio": logging.WARNING,
    "grpc": logging.WARNING,
}
Logger = structlog.stdlib.BoundLogger


def redact_text(text: str) -> str:
    """Return `text` without passwords in URLs, bearer values and JWTs."""

    def replace(found: re.Match[str]) -> str:
        if found["scheme"]:
            return f"{found['scheme']}{REDACTED}@"
        return f"{found['bearer'] or ''}{REDACTED}"

    return _CREDENTIALS.sub(replace, text)


def redact(value: Any, *, depth: int = 6) -> Any:
    """Return `value` with sensitive keys and credentials replaced."""
    if isinstance(value, str):
        return redact_text(value)
    if depth == 0 or isinstance(value, bytes):
        return REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _SENSITIVE.search(str(key)) else redact(item, depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence):
        return [redact(item, depth=depth - 1) for item in value]
    return value


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if _SENSITIVE.search(key):
            event[key] = REDACTED
        elif isinstance(value, str | bytes | Mapping | list | tuple):
            event[key] = redact(value)
    return event


def _add_call(_logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, Any]:
    call = current_or_none()
    if call is not None:
        event.setdefault("request_id", call.request_id)
        event.setdefault("trace_id", call.trace.trace_id)
        if call.tenant:
            event.setdefault("tenant", call.tenant)
    return event


def configure(*, process: str, level: str) -> None:
    """Send every log of this process to stderr as JSON; called once by `run`."""

    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_call,
        add_process,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, chatty in _CHATTY.items():
        logging.getLogger(name).setLevel(max(chatty, root.level))


def get_logger(name: str) -> Logger:
    """Return the logger of a module; configuration takes effect at its first line."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger
