"""Rebalances of a group, handed to the consumer that lives through them."""

from collections.abc import Awaitable, Callable

from aiokafka import ConsumerRebalanceListener, TopicPartition


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped upstream
    """Calls back before partitions go and after they came."""

    def __init__(
        self,
        *,
        revoked: Callable[[set[TopicPartition]], Awaitable[None]],
        assigned: Callable[[set[TopicPartition]], None],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Settle what runs on partitions that go; the group waits for this."""
        await self._revoked(set(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Take partitions over."""
        self._assigned(set(assigned))
