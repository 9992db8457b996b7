"""The documentation's site: the pages of docs/ and the README, made into HTML by Zensical."""
