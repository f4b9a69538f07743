"""Tests of github/syncs/repositories.py with what a dry run recorded."""


def test_repositories_saves_what_was_recorded(perdure_script):
    perdure_script("repositories").assert_as_recorded()
