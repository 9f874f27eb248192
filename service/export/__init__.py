"""Templates and reports as other template worlds write them: FHIR Questionnaires and their responses, IHE MRRT templates."""
