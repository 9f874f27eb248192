"""What is kept: the spool of received objects, and the tables. Importing this package alone brings in neither."""
