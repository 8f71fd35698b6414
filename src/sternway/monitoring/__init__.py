"""What others need to watch services and Sternway itself: rules, a scrape configuration, a dashboard.

Rule: made from manifests alone, pure, and a value (a mapping) until the command line writes it out. What Prometheus
and Grafana are told here is the only place that knows their forms.
"""
