"""Contacts of a HubSpot account."""

from perdure import NangoSync

from models import Contact
from shared.pages import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/contacts", paginate=CURSOR):
        contacts = [Contact(id=c["id"], name=c["name"], email=c["email"]) for c in page]
        await nango.batch_save(contacts, "Contact")
