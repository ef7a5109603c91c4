"""Host daemon: networks, templates, pools and supervision of microVMs on one machine."""
