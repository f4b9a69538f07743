"""Companies of a HubSpot account."""

from perdure import NangoSync

from models import Company
from shared.pages import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/companies", paginate=CURSOR):
        small = [company for company in page if company["employees"] < 2]
        if small:
            await nango.log(f"{len(small)} companies of one person", level="warn")
        await nango.batch_save([Company(**company) for company in page], "Company")
