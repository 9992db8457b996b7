"""Layout ``Plain``: any tree of files, copied, staged beside the live folder, switched in by renames.

The format of packs and index is shared by both layouts and stands one level above.
"""
