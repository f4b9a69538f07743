"""Files that people write, read with the place of everything in them: pure, without I/O."""
