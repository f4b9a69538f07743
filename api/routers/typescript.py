"""What Nango's command line and pages call to deploy TypeScript: scripts are Python here.

A plain answer is better than a 404, whose reader would look for a mistake in the address.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from perdure.errors import InvalidInputError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.post("/sync/deploy", response_class=Response)
@router.post("/sync/deploy/confirmation", response_class=Response)
@router.post("/functions/compile", response_class=Response)
@router.post("/functions/dryruns", response_class=Response)
@router.post("/functions/deployments", response_class=Response)
@router.post("/functions/invocations", response_class=Response)
async def refuse_typescript() -> Response:
    """Say how scripts are deployed and tried here.

    Raises:
        InvalidInputError: `feature_disabled`.
    """
    msg = (
        "Scripts are Python here: `perdure deploy` deploys them, `perdure dryrun` tries them out. "
        "TypeScript cannot be deployed."
    )
    raise InvalidInputError(msg, code="feature_disabled")
