"""The catalogue: one streaming pass over text, then a record of every feature that can be searched and explained.

``build.build`` makes one, ``store.Catalogue`` opens it, ``records`` says what it holds.
"""
