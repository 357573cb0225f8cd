"""The files people download: each format turns described rows into bytes, streaming.

Belongs here: pure writers, of rows that are already chosen, ordered and masked. Does not belong
here: reading rows, jobs, uploads.
"""
