"""Creates a customer in a Stripe account."""

from typing import Any

from perdure import ActionError, HttpError, NangoAction

from models import CreateCustomer, StripeCustomer
from shared.stripe_objects import to_customer


async def run_action(nango: NangoAction, input: dict[str, Any]) -> StripeCustomer:
    wanted = CreateCustomer.model_validate(input)
    try:
        answer = await nango.post("/v1/customers", data=wanted.model_dump(exclude_unset=True))
    except HttpError as error:
        if error.status != 400 or error.response is None:
            raise
        # Stripe says which field it does not like: the caller can mend that.
        refusal = {"message": "Stripe refused the customer", "stripe": error.response.data}
        raise ActionError(refusal) from error
    return to_customer(answer.data)
