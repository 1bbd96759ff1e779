"""A model's settings: the ``parameters`` of its config.pbtxt."""

import json
from collections.abc import Mapping
from pathlib import Path


class Settings:
    """Reads parameters by name; a missing one is an error of the repository, said at load."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        """Take what Triton hands to ``initialize``."""
        parameters = json.loads(arguments["model_config"])["parameters"]
        self._values: dict[str, str] = {name: entry["string_value"] for name, entry in parameters.items()}
        self._folder = Path(arguments["model_repository"])

    def number(self, name: str) -> int:
        """Return a whole number."""
        return int(self._values[name])

    def path(self, name: str) -> Path:
        """Return a path; a relative one starts at the model's folder."""
        return self._folder / self._values[name]
