"""The report as a page: one value (`service.page.content`) that becomes a PDF, a web page and key images."""
