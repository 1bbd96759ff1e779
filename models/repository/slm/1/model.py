"""Triton's entry to the model `slm`: puts the library beside the repository on the path and hands over."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TritonPythonModel:
    """Forwards Triton's three calls to `models.serving.generate`."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Import the library named by the parameter `library` and load the model."""
        library = json.loads(args["model_config"])["parameters"]["library"]["string_value"]
        sys.path.insert(0, str((Path(args["model_repository"]) / library).resolve()))
        from models.serving.generate import TritonPythonModel as Model

        self._model = Model()
        self._model.initialize(args)

    def execute(self, requests: list[Any]) -> None:
        """Serve a batch of requests; the answers go through their senders."""
        self._model.execute(requests)

    def finalize(self) -> None:
        """Release what the model holds."""
        finalize = getattr(self._model, "finalize", None)
        if finalize:
            finalize()
