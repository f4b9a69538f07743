"""Tests of github/actions/repository.py with what a dry run recorded."""


def test_repository_returns_what_was_recorded(perdure_script):
    perdure_script("repository").assert_as_recorded()
