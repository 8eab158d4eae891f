"""Features read once, pooled and normalised: a store on disk that batches are gathered from."""
