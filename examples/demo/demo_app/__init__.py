"""A small shop over PostgreSQL and a filestore that keeps attachments exactly as Odoo does.

It shows what a snapshot and a rollback do to a running application, and the end-to-end tests judge consistency by it.
"""
