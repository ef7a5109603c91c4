"""People, how they log in, and what their programs come with."""
