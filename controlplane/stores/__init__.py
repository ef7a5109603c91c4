"""Where all truth lives: tables, the statements over them, and one adapter per database."""
