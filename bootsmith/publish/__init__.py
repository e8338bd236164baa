"""Generations delivered to the places that serve them: directories here, and other machines."""
