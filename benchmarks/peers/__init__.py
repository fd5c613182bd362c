"""One file a family of peers; each has `CASES`."""
