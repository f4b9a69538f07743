"""Bundles of scripts: how they are built, addressed by content and loaded."""
