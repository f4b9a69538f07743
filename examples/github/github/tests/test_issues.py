"""Tests of github/syncs/issues.py with what a dry run recorded."""


def test_issues_saves_what_was_recorded(perdure_script):
    perdure_script("issues").assert_as_recorded()
