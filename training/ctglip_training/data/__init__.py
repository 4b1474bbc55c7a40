"""Data sets as they are published: layouts read into one manifest, its splits, its checks."""
