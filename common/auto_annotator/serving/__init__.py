"""The functions as services: request -> callable -> reply."""
