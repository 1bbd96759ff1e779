"""Clients of whoever answers behind a profile."""

from __future__ import annotations

import asyncio
from typing import Final

from mesh.inference.anthropic import Anthropic
from mesh.inference.http import ProviderHttp
from mesh.inference.openai import OpenAI
from mesh.inference.triton import Triton
from services.slm.domain.model import Model, Provider

_CHECK_SECONDS: Final = 4.0
_AT_ONCE: Final = 16


class Providers:
    """The port `Prober`."""

    def __init__(self, triton: Triton, http: ProviderHttp) -> None:
        """Take the clients."""
        self._triton = triton
        self._http = http
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def check(self, model: Model, api_key: str) -> None:
        """Return when the model answers (see the port)."""
        async with self._places:
            await self._client(model, api_key).check(model.provider_model, timeout_seconds=_CHECK_SECONDS)

    def _client(self, model: Model, api_key: str) -> Triton | OpenAI | Anthropic:
        match model.provider:
            case Provider.TRITON:
                return self._triton
            case Provider.OPENAI:
                return OpenAI(http=self._http, base_url=model.base_url, api_key=api_key)
            case Provider.ANTHROPIC:
                return Anthropic(http=self._http, base_url=model.base_url, api_key=api_key)
