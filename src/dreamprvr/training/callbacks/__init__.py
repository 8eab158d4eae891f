"""Lightning callbacks: the random state, the results table, the prediction file."""
