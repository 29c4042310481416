"""Teaching nano on rendered humans. Never imported by the node."""
