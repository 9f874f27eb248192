"""What follows from answers: one module for each part of the report, `service.flow.derive` puts them together."""
