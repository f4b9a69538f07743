"""Tests of stripe/actions/create-customer.py with what a dry run recorded."""

import pytest
from perdure import ActionError


def test_create_customer_returns_what_was_recorded(perdure_script):
    perdure_script("create-customer").assert_as_recorded()


def test_what_stripe_refuses_is_told_to_the_caller(perdure_script):
    refusal = {"error": {"param": "email", "message": "Invalid email address"}}
    answers = {"POST": {"/v1/customers": {"status": 400, "response": refusal}}}

    with pytest.raises(ActionError) as refused:
        perdure_script("create-customer", api=answers)

    assert refused.value.payload["stripe"] == refusal
