"""What the numbers mean: metric registry, datasets, calendar and money."""
