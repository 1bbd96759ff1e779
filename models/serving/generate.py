"""The generative model behind the vLLM contract: a scheduler on a decoder, for Triton's Python backend."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from models.engine.decoder import Decoder
from models.engine.errors import EngineError
from models.engine.sampling import Sampling
from models.engine.scheduler import Request, Scheduler
from models.serving.contract import Call, Responder, refuse
from models.serving.courier import Carried, Courier
from models.serving.occupancy import Occupancy
from models.serving.settings import Settings


class TritonPythonModel:
    """What Triton calls.

    Parameters: weights (folder), slots, queue, window, threads, step_threads (0: as many as threads).
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load weights and tokenizer and start the stepping thread."""
        settings = Settings(args)
        folder = settings.path("weights")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        decoder = Decoder(
            folder,
            slots=settings.number("slots"),
            window=settings.number("window"),
            threads=settings.number("threads"),
            step_threads=settings.number("step_threads") or None,
        )
        occupancy = Occupancy(model=str(args["model_name"]), slots=decoder.slots)
        self._courier = Courier()
        self._scheduler = Scheduler(
            decoder,
            self._tokenizer,
            queue=settings.number("queue"),
            occupied=partial(self._courier.send, occupancy.tell),
        )

    def execute(self, requests: list[Any]) -> None:
        """Queue requests; their answers leave from the stepping thread."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._submit(Call.read(request), sender)
            except EngineError as error:
                refuse(sender, error)

    def _submit(self, call: Call, sender: Any) -> None:
        sampling = Sampling.parse(call.sampling)
        tokens = self._tokenizer.encode(call.text).ids
        sink = Carried(Responder(sender, call, input_tokens=len(tokens)), self._courier)
        self._scheduler.submit(Request(tokens=tokens, sampling=sampling, stream=call.stream, sink=sink))

    def finalize(self) -> None:
        """Fail what runs and waits, say so, and stop."""
        self._scheduler.close()
        self._courier.close()
