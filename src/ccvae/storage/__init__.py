"""Files that survive a crash: atomic writes, a cache that is built once, and the run folder."""
