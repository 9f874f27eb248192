"""Tests of LMS-SR."""
