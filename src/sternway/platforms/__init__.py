"""Where workloads run. Rule: each subpackage implements `sternway.ports.Platform` and knows no other one."""
