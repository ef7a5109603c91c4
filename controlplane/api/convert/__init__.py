"""Messages to domain data and back, one module per noun: pure functions without decisions."""
