"""Page tokens: opaque to callers, bound to the list that gave them."""

import base64
from typing import Final

_DEFAULT_SIZE: Final = 50


def page_size(asked: int) -> int:
    """Return how many to list."""
    return asked or _DEFAULT_SIZE


def token(kind: str, after: str) -> str:
    """Return the token that goes on after `after`."""
    return base64.urlsafe_b64encode(f"{kind}\n{after}".encode()).decode().rstrip("=")


def after(kind: str, page_token: str) -> str | None:
    """Return where a token goes on; None for the first page.

    Raises:
        ValueError: it is no token of this kind.
    """
    if not page_token:
        return None
    try:
        padded = page_token + "=" * (-len(page_token) % 4)
        found, _, place = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition("\n")
    except ValueError as error:  # not ASCII, not base64 (binascii.Error), not UTF-8
        raise ValueError("not a page token") from error
    # No list gives a place that does not print; a store may not even read one (NUL).
    if found != kind or not place.isprintable() or not place:
        raise ValueError("not a page token of this list")
    return place
