"""How are pixels combined? Weights, sky levels and drizzling."""
