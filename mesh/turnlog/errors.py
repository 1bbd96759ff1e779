"""What can go wrong with a turn log.

TurnLogError
├── LogUnavailable   Redis does not answer, or the connection broke
├── NotMine          another writer has the turn: stop writing
├── LogLost          the log is gone; who holds the lease may claim again and write it anew
└── LogDamaged       the log holds what no writer of this package wrote
"""


class TurnLogError(Exception):
    """Anything below."""


class LogUnavailable(TurnLogError):
    """Redis does not answer; what was under way may or may not have happened."""


class NotMine(TurnLogError):
    """An entry was refused: the epoch is over."""


class LogLost(TurnLogError):
    """The log that was written to is not there any more."""


class LogDamaged(TurnLogError):
    """The log is not as the package writes it (another type of key, a gap)."""
