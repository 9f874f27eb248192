"""Reports as DICOM structured reports: encode, parse, check, show."""
