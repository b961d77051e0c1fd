"""Ways to put features into words, one a file: each has ``explain(catalogue, …) -> list[Label]``."""
