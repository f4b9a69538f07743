"""One module for each resource: parse, call, answer."""
