"""What people write down: settings of the processes and `nango.yaml`."""
