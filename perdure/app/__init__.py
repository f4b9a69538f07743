"""The composition root: where processes are put together from their parts."""
