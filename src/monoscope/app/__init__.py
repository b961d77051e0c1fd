"""What a person meets: the command line, the pages, the report; the only place that wires things together."""
