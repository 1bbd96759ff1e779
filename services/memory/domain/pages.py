"""Page tokens of lists that run from the newest id to the oldest."""

from __future__ import annotations

import base64
import re
from typing import Final

DEFAULT_SIZE: Final = 50
_ID: Final = re.compile(r"[a-z]{3}_[0-9a-f]{32}\Z")


def after(last: str) -> str:
    """Give the token of the page after an id."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def before(token: str, prefix: str) -> str | None:
    """Give the id that a page begins after; None for the first page.

    Raises:
        ValueError: the token is not one of ours.
    """
    if not token:
        return None
    try:
        last = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except ValueError as error:  # binascii.Error and UnicodeDecodeError are such
        raise ValueError("not a page token") from error
    if not _ID.match(last) or not last.startswith(f"{prefix}_"):
        raise ValueError("not a page token")
    return last
