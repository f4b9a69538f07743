"""Invoices of a Stripe account."""

from perdure import NangoSync

from models import Invoice
from shared.pages import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/invoices", paginate=CURSOR):
        await nango.batch_save([Invoice(**invoice) for invoice in page], "Invoice")
