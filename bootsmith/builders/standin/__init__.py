"""The stand-in: an ISO in Alpine's exact layout, made from downloaded Debian packages."""

from bootsmith.builders.standin.build import build_standin
from bootsmith.builders.standin.packages import fetch_packages, resolve_packages

__all__ = ["build_standin", "fetch_packages", "resolve_packages"]
