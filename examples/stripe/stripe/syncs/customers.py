"""Customers of a Stripe account."""

from perdure import NangoSync

from shared.stripe_objects import to_customer


async def fetch_data(nango: NangoSync) -> None:
    # Stripe can filter customers by when they were created, never by when they were changed: a
    # filter would miss each later change. So every run reads the whole list. What did not change
    # costs a comparison of hashes: it is not written, and not reported to whoever reads records.
    await nango.paginate("/v1/customers").save("StripeCustomer", map=to_customer)

    # A deleted customer is missing from the list without a word. Stripe keeps its events for thirty
    # days, long enough for a sync that runs every hour.
    if nango.last_sync_date is not None:
        since = int(nango.last_sync_date.timestamp())
        deletions = {"type": "customer.deleted", "created[gte]": since}
        async for page in nango.paginate("/v1/events", params=deletions):
            gone = [{"id": event["data"]["object"]["id"]} for event in page]
            await nango.batch_delete(gone, "StripeCustomer")
