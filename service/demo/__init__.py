"""The main job on one machine: a phantom patient, a stand-in PACS, and the service between them."""
