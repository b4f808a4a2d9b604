"""Backbones: timm's Swin and plain ViT families behind one contract, and the small one shipped with the package."""
