"""Several processes: ranks and their shards, batch normalization across them, shutdown, and a queue of work."""
