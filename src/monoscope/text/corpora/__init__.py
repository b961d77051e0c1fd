"""Corpora, one a file. Each holds ``documents(source: str) -> Iterator[Document]``; ``source`` follows the colon.

``--text python_source`` and ``--text files:notes/*.txt`` name a corpus and what it is to read.
"""
