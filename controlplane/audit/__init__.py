"""What makes the audit log's chain worth something: keys outside the database, and heads outside of it too."""
