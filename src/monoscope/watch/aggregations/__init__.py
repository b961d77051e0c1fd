"""What a condition looks at: a number that a sequence's values so far make, one kind a file.

A file holds ``class Aggregation``: its constructor takes the condition's options, and ``step(value)`` is told the
signal's value on the next token and gives the number there. It holds the state of one sequence, so it can be pickled,
and it is told one token at a time, so that how a text was cut into passes cannot matter.
"""

PACKAGE = "monoscope.watch.aggregations"
