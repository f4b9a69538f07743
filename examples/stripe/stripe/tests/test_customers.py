"""Tests of stripe/syncs/customers.py with what a dry run recorded."""


def test_customers_saves_what_was_recorded(perdure_script):
    perdure_script("customers").assert_as_recorded()
