"""Places ready tickets on hosts: snapshot, feasible, rank, plan, applier. See README.md."""
