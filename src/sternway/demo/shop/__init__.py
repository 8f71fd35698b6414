"""A sample shop of three services that call each other: web -> orders -> stock. Started as `…shop.service`."""
