"""One module per family of metrics: the functions that compute them, their papers, and what each number means."""
