"""The models that are shipped, a folder each."""
