"""Recognisers: one file per family, each turns aligned crops into vectors."""
