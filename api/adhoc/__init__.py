"""Ad-hoc SQL: one SELECT by an administrator on the finished tables."""
