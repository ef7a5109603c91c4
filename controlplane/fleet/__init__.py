"""The hosts that are attached: their streams, what they report, and what they are told."""
