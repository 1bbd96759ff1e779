"""What the engine refuses, in the words that a client reads."""


class EngineError(Exception):
    """Any refusal or failure of a generation."""


class InvalidRequestError(EngineError):
    """The request itself is wrong; sending it again cannot help."""


class QueueFullError(EngineError):
    """All slots are busy and the queue is at its bound; try again later."""


class StoppedError(EngineError):
    """The engine is shutting down."""


class BrokenError(EngineError):
    """A step of the model failed; its sequences are lost, the engine goes on."""
