"""Studies: long measurements that resume."""
