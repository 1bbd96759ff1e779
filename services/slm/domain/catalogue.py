"""The catalogue: built-in profiles first, then the tenant's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mesh.runtime.errors import SomaError
from services.slm import errors
from services.slm.domain.model import (
    BuiltIn,
    Fact,
    Health,
    Model,
    Page,
    Provider,
    Request,
    Task,
)
from services.slm.ports import Addresses, ModelStore, Prober, Seal

_BUILT_IN: Final = "0:"
_OWN: Final = "1:"
_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,63}\Z")
_PROVIDER_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}\Z")
_ROOTS: Final = {
    Provider.OPENAI: "https://api.openai.com/v1",
    Provider.ANTHROPIC: "https://api.anthropic.com",
}
_MOST_TOKENS: Final = 16_777_216
_MOST_SLOTS: Final = 4096
_SLOTS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What can be done with profiles. `now` is the clock, `elapsed` a stopwatch in seconds."""

    store: ModelStore
    built_in: Mapping[str, BuiltIn]
    seal: Seal
    addresses: Addresses
    prober: Prober
    now: Callable[[], datetime]
    elapsed: Callable[[], float]

    async def model(self, tenant: str, name: str) -> Model:
        """Return a profile.

        Raises:
            NotFound: there is none of that name for the tenant.
        """
        if name in self.built_in:
            return self.built_in[name].model
        found = await self.store.model(tenant, name)
        if found is None:
            raise errors.model_not_found(name)
        return found

    async def models(self, tenant: str, page: Page) -> tuple[Sequence[Model], str]:
        """Return a part of the profiles, and from where the next part goes on; "" at the end.

        Raises:
            InvalidArgument: `after` did not come from here.
        """
        # A name prints; a store may not even read a text that does not (NUL).
        if page.after and (page.after[:2] not in (_BUILT_IN, _OWN) or not page.after.isprintable()):
            raise errors.page_token_invalid()
        found: list[Model] = []
        if not page.after.startswith(_OWN):
            after = page.after[2:]
            found = [each.model for name, each in self.built_in.items() if name > after]
        after = page.after[2:] if page.after.startswith(_OWN) else ""
        if len(found) <= page.size:
            found += await self.store.models(tenant, after=after, size=page.size + 1 - len(found))
        if len(found) <= page.size:
            return found, ""
        part = found[: page.size]
        return part, (_BUILT_IN if part[-1].built_in else _OWN) + part[-1].name

    async def create(self, tenant: str, actor: str, request: Request, model: Model, api_key: str) -> Model:
        """Keep a profile, and its key sealed.

        Raises:
            InvalidArgument: the profile cannot work.
            PermissionDenied: its address may not be reached.
            AlreadyExists: the name is taken, or the request id was used for another request.
        """
        if model.name in self.built_in:
            raise errors.name_taken(model.name)
        self._require_sound(model, api_key)
        now = self.now()
        kept = replace(
            model,
            base_url=model.base_url or _ROOTS.get(model.provider, ""),
            slots=model.slots or _SLOTS,
            create_time=now,
            has_api_key=bool(api_key),
        )
        if kept.base_url:
            self.addresses.check_url(kept.base_url)
        sealed = self.seal.seal(api_key.encode(), place=_place(tenant, kept.name)) if api_key else None
        fact = Fact(
            action="models.create",
            actor=actor,
            resource=kept.name,
            time=now,
            details={"provider": kept.provider.name.lower(), "base_url": kept.base_url},
        )
        return await self.store.add(tenant, request, kept, sealed, fact)

    async def delete(self, tenant: str, actor: str, name: str) -> None:
        """Delete a profile with its key.

        Raises:
            FailedPrecondition: it is built in.
            NotFound: there is none of that name for the tenant.
        """
        if name in self.built_in:
            raise errors.built_in_stays(name)
        fact = Fact(action="models.delete", actor=actor, resource=name, time=self.now())
        if not await self.store.delete(tenant, name, fact):
            raise errors.model_not_found(name)

    async def check(self, tenant: str, name: str) -> Health:
        """Ask the provider whether the model answers; that it does not is an answer, too.

        Raises:
            NotFound: there is no profile of that name for the tenant.
        """
        model = await self.model(tenant, name)
        api_key = "" if model.built_in else await self._api_key(tenant, name)
        start, message = self.elapsed(), ""
        try:
            await self.prober.check(model, api_key)
        except SomaError as error:
            message = error.message
        return Health(
            model=name,
            ready=not message,
            message=message,
            latency_ms=(self.elapsed() - start) * 1e3,
            check_time=self.now(),
        )

    async def credential(self, tenant: str, name: str, base_url: str) -> str:
        """Return a provider's key, for the address that it was stored with and no other.

        Raises:
            NotFound: there is no such profile, or its address is another one.
        """
        found = await self.store.sealed_api_key(tenant, name)
        if found is None or found[0].base_url != base_url:
            raise errors.model_not_found(name)
        return self._opened(tenant, name, found[1])

    async def _api_key(self, tenant: str, name: str) -> str:
        found = await self.store.sealed_api_key(tenant, name)
        return self._opened(tenant, name, found[1]) if found else ""

    def _opened(self, tenant: str, name: str, sealed: bytes | None) -> str:
        return "" if sealed is None else self.seal.open(sealed, place=_place(tenant, name)).decode()

    def _require_sound(self, model: Model, api_key: str) -> None:
        if not _NAME.match(model.name):
            raise errors.wrong_field("name", "must be lower-case letters, digits, dots and dashes")
        if not _PROVIDER_MODEL.match(model.provider_model):
            raise errors.wrong_field("provider_model", "must be the provider's name of the model")
        if model.provider is Provider.TRITON:
            if model.base_url or api_key:
                raise errors.wrong_field("base_url", "Triton's models take no address and no key")
        elif model.task is not Task.GENERATE:
            raise errors.wrong_field("task", "providers generate; only Triton extracts and embeds")
        if not 1 <= model.context_tokens <= _MOST_TOKENS:
            raise errors.wrong_field("context_tokens", f"must be between 1 and {_MOST_TOKENS}")
        least = 0 if model.task is Task.EMBED else 1
        if not least <= model.max_output_tokens <= model.context_tokens:
            raise errors.wrong_field("max_output_tokens", f"must be between {least} and context_tokens")
        if not 0 <= model.slots <= _MOST_SLOTS:
            raise errors.wrong_field("slots", f"must be between 0 and {_MOST_SLOTS}")
        if len(model.description) > 2000 or len(model.base_url) > 2048:
            raise errors.wrong_field("description", "is too long")


def _place(tenant: str, name: str) -> str:
    return f"model-key/{tenant}/{name}"
