"""Asking a model many questions: nothing is asked twice, nothing is lost, and a budget holds.

``Asker`` is a ``ChatModel`` around one ``Sender``. Its parts are a file each: what was answered (``cache``), what it
cost (``account``), when to try again (``retries``), several at a time (``pool``), and what is read out of an answer
(``structured``).
"""
