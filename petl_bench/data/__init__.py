"""Datasets: images with dense labels for several tasks."""
