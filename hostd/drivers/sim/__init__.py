"""A VM layer without VMs, for development and tests: no isolation whatever, but everything around it is real."""
