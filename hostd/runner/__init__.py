"""What the host runs: attempts from assignment to acknowledged result, VMs booted by hand, commands and reports."""
