"""Tests of stripe/syncs/products.py with what a dry run recorded."""


def test_products_saves_what_was_recorded(perdure_script):
    perdure_script("products").assert_as_recorded()
