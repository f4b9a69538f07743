"""Which syncs handle which webhooks, as a bundle says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from activities.bundles import BundleCache
from perdure.ids import BundleHash

__all__ = ["WEBHOOK_HANDLER", "WebhookRoutes"]

WEBHOOK_HANDLER = "on_webhook_payload_received"
"""The function of a sync's script that handles webhooks; deploys see to it that it is there."""

_CACHED = 256


@dataclass(frozen=True, slots=True)
class _Route:
    sync: str
    types: frozenset[str]


class WebhookRoutes:
    """Finds the syncs that handle a webhook; what a bundle says is read once per process.

    Args:
        bundles: Bundles by hash.
    """

    def __init__(self, bundles: BundleCache) -> None:
        self._bundles = bundles
        self._routes: OrderedDict[tuple[str, str], tuple[_Route, ...]] = OrderedDict()

    async def handlers(
        self, bundle: BundleHash | None, integration: str, types: Sequence[str]
    ) -> list[str]:
        """Return the syncs of an integration that subscribe to any of the types, in order."""
        if bundle is None:
            return []
        routes = await self._of(bundle, integration)
        named = {"*", *types}
        return [route.sync for route in routes if not route.types.isdisjoint(named)]

    async def _of(self, bundle: BundleHash, integration: str) -> tuple[_Route, ...]:
        known = self._routes.get((bundle, integration))
        if known is None:
            declared = (await self._bundles.config(bundle)).integration(integration)
            known = tuple(
                _Route(sync.name, frozenset(sync.webhook_subscriptions))
                for sync in (declared.syncs if declared else ())
                if sync.webhook_subscriptions
            )
            self._routes[bundle, integration] = known
            if len(self._routes) > _CACHED:
                self._routes.popitem(last=False)
        else:
            self._routes.move_to_end((bundle, integration))
        return known
