"""Look at a whole benchmark and report what is missing, broken or odd."""
