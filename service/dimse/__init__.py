"""DICOM over the network: receive (C-ECHO, C-STORE), send (C-ECHO, C-STORE), ask (C-FIND)."""
