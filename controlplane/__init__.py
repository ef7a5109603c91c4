"""Control plane: the one owner of all truth about tickets, attempts and hosts."""
