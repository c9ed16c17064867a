//! Server-side assignors (KIP-848): pure functions from what members want to who reads what.
