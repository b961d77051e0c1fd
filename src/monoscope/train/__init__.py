"""Training dictionaries: one loop, objectives a file each, checkpoints that resume bit for bit."""
