"""The page: a local web server over one library."""
