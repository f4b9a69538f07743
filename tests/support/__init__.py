"""What several test modules need: the stack in one process, and an API to read from."""
