"""One revision a file, each running one file of `sql/`."""
