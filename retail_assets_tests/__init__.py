"""Tests of retail_assets."""
