"""Generation on a neural data set: planned, run, scored (`scores`, `frechet`, `memorisation`), recorded."""
