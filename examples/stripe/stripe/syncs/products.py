"""Products of a Stripe account."""

from perdure import NangoSync

from shared.stripe_objects import to_product


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/v1/products"):
        await nango.batch_save([to_product(raw) for raw in page], "StripeProduct")
