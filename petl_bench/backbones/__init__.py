"""Backbones: families of timm's networks behind one contract, and the small one shipped with the package."""
