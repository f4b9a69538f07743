"""A small company that uses all of Perdure: for the tests in a browser, and for screenshots."""
