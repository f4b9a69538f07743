"""A cluster of processes that is deployed anew, killed and cut off at work: `make rehearsal`."""
