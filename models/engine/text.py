"""Tokens to text as they come: whole characters only, and stop texts found across token borders."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class StopMatcher:
    """Finds the first of some texts in a stream, holding back what may still become one."""

    def __init__(self, stops: Sequence[str], *, include: bool) -> None:
        """Look for `stops`; with `include` the text that was found is kept at the end."""
        self._stops = tuple(stops)
        self._include = include
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Return (text that is sure, whether a stop was found); after a stop nothing more may be pushed."""
        if not self._stops:
            return text, False
        held = self._held + text
        found = min(((held.find(stop), stop) for stop in self._stops if stop in held), default=None)
        if found:
            self._held = ""
            return held[: found[0] + (len(found[1]) if self._include else 0)], True
        keep = self._undecided(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def flush(self) -> str:
        """Return what was held back: the stream is over and no stop came."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, held: str) -> int:
        longest = max(len(stop) for stop in self._stops) - 1
        for size in range(min(longest, len(held)), 0, -1):
            if any(stop.startswith(held[len(held) - size :]) for stop in self._stops):
                return size
        return 0


class TextStream:
    """One answer's text: detokenises token by token and stops at stop texts."""

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str], *, include_stop: bool, skip_special: bool
    ) -> None:
        """Begin an empty text."""
        self._tokenizer = tokenizer
        self._decoder = DecodeStream(skip_special_tokens=skip_special)
        self._matcher = StopMatcher(stops, include=include_stop)

    def push(self, token: int) -> tuple[str, bool]:
        """Return (new text, whether a stop text was found) after one more token."""
        return self._matcher.push(self._decoder.step(self._tokenizer, token) or "")

    def flush(self) -> str:
        """Return the text still held back for a stop that did not come."""
        return self._matcher.flush()
