"""Products of a Stripe account."""

from perdure import NangoSync

from shared.stripe_objects import to_product


async def fetch_data(nango: NangoSync) -> None:
    await nango.paginate("/v1/products").save("StripeProduct", map=to_product)
