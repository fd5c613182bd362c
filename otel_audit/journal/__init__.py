"""The journal: a directory of stream files that is write-ahead log, local audit file and every sink's queue in one."""
