"""The stand-in: an ISO in Alpine's exact layout, made from downloaded Debian packages."""

from bootsmith.builders.standin.packages import fetch_packages, resolve_packages

__all__ = ["fetch_packages", "resolve_packages"]
