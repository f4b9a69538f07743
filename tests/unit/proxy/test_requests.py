from typing import Any

import pytest
from pydantic import ValidationError

from perdure.proxy.requests import HttpRequest, HttpResponse, RetryHeader


def test_header_names_are_lower_case_and_values_text() -> None:
    request = HttpRequest.model_validate(
        {"endpoint": "/x", "headers": {"X-Page": 5, "Accept": "a/b", "X-None": None}}
    )
    assert request.headers == {"x-page": "5", "accept": "a/b"}


def test_method_may_be_in_any_case() -> None:
    assert HttpRequest.model_validate({"endpoint": "/x", "method": "patch"}).method == "PATCH"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_body_of_a_method_without_one_is_refused(method: Any) -> None:
    with pytest.raises(ValidationError, match="send it as params"):
        HttpRequest(method=method, endpoint="/x", data={"a": 1})


def test_delete_may_have_a_body() -> None:
    assert HttpRequest(method="DELETE", endpoint="/x", data={"a": 1}).data == {"a": 1}


def test_retry_header_takes_one_name_or_many() -> None:
    given = {"at": "X-Reset", "after": ["X-Wait", "X-Other"]}
    assert RetryHeader.model_validate(given) == RetryHeader(
        at=("x-reset",), after=("x-wait", "x-other")
    )


def test_request_survives_its_way_through_a_history() -> None:
    request = HttpRequest(
        method="POST",
        endpoint="/x",
        params={"a": [1, "b", True, None], "c": 1.5},
        data={"deep": [{"x": None}]},
        retry_on=(404,),
        retry_header=RetryHeader(after=("x-wait",)),
    )
    assert HttpRequest.model_validate_json(request.model_dump_json()) == request


def test_payloads_tolerate_fields_of_later_versions() -> None:
    assert HttpRequest.model_validate({"endpoint": "/x", "later": 1}) == HttpRequest(endpoint="/x")
    assert HttpResponse.model_validate({"status": 200, "later": 1}) == HttpResponse(status=200)


def test_response_gives_its_data_as_json_and_its_bytes_if_asked_for() -> None:
    assert HttpResponse(status=200, data={"a": 1}).json() == {"a": 1}
    assert HttpResponse(status=200, data="AAE=", is_base64=True).content() == b"\x00\x01"
    with pytest.raises(TypeError, match="arraybuffer"):
        HttpResponse(status=200, data={"a": 1}).content()
