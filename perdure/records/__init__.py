"""What a record is: identity, hash, place in the stream, form in an answer. All of it pure."""
