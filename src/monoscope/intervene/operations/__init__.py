"""What an edit does to a value along a direction, one a file.

``change(value, dose)`` says by how much the value changes; the edit adds that much of the direction. ``PROJECTION``
says that the value is not how active the feature is but how much of its direction the row holds. ``NEEDS_DOSE`` says
whether the dose has a meaning, ``HAS_UNIT`` whether it is an amount (and not, say, a factor).
"""

PACKAGE = "monoscope.intervene.operations"
