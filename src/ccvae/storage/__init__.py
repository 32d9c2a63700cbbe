"""Files that survive a crash: atomic writes, folders that are built once, and the run folder."""
